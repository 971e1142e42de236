"""The regime study's plans and tables, against results worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fishpal.params.options import LearningRates
from studies.cells.answers import less
from studies.criteria.analysis.table import read_cells
from studies.criteria.design.names import word
from studies.regime import trainings
from studies.regime.plans import small_plans, whole_plans
from studies.regime.report import chosen, plans_table
from studies.regime.settings import load_settings
from tests.project.closure import ROOT


def line(plan, rate, seed, answers, loss):
    right = np.packbits(np.array(answers)).tobytes().hex()
    return {"task": "t", "plan": plan, "rate": rate, "seed": seed, "right": right, "loss": loss,
            "selection_loss": loss, "score": float(np.mean(answers)), "diverged": False,
            "layers": [plan], "kept": 10, "seconds": 1.0}  # fmt: skip


def test_the_mixes_are_those_of_the_first_study(monkeypatch):
    monkeypatch.chdir(ROOT / "studies" / "criteria")
    stored = read_cells("plans").set_index("plan").layers
    for name, layers in whole_plans(load_settings(), 6).items():
        assert word(layers) == stored[name].iloc[0]
    assert len(whole_plans(load_settings(), 6)) == 4 + 10
    _, modules = small_plans(load_settings(), 6)["lora_rank_2"]
    assert (modules.lora.rank, modules.lora.alpha) == (2, 4.0)


def test_each_kind_has_its_best_rate_and_differences_are_of_rows():
    good, bad = [1, 1, 1, 0, 1, 1, 1, 1, 1, 0], [1, 0, 0, 0, 1, 1, 0, 1, 0, 0]  # of ten rows
    lines = [
        line("lora", 0.1, 0, bad, 0.9), line("lora", 0.2, 0, good, 0.3),
        line("lora", 0.2, 1, good, 0.4), line("adapter", 0.1, 0, bad, 0.8),
        line("mix", None, 1, good, 0.1),  # waits for the first seed, which the others have
    ]  # fmt: skip
    found = chosen("t", lines)
    assert found.keys() == {"lora", "adapter"}
    assert [each["rate"] for each in found["lora"]] == [0.2, 0.2]
    assert less(found["adapter"], found["lora"], 1).startswith("**-40.0 [")
    assert less(found["lora"], found["lora"], 2) == ""
    rows = plans_table(found).splitlines()
    assert rows[2].startswith("| lora | `L` | 10 | 2 | 0.350 | 80.0 ± 0.0 |")
    assert "| 40.0 | **-40.0 [" in rows[3]


def test_a_stored_cell_is_not_trained_again():
    settings, before = load_settings(), trainings.TRAINED.lines()
    own = before[0]
    columns = {name: own[name] for name in ("task", "plan", "seed", "rate")}
    _, modules = next(iter(small_plans(settings, 6).values()))
    trainings.run_training(settings, columns, tuple(own["layers"]), modules, LearningRates())
    assert trainings.TRAINED.lines() == before and before


def test_lora_trains_at_a_lower_rate_where_training_is_longer():
    assert trainings.usual_rate("lora", 500) == pytest.approx(trainings.usual_rate("lora", 125) / 2)
    assert trainings.usual_rate("adapter", 500) == trainings.usual_rate("adapter", 125)
