"""The study over draws: what a grid becomes, which draws count, and its tables, by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy import stats

from fishpal.common.kinds import ModuleKind
from fishpal.params.options import LearningRates
from fishpal.records.facts import EncoderFacts
from fishpal.records.pilot import Arm, Pilot
from fishpal.records.plan import Plan, Reason
from fishpal.records.results import CurvePoint
from studies.cells.store import Store
from studies.criteria.design.plans import KINDS
from studies.draws import compressed_table, races, thesis, trainings
from studies.draws.schedules import schedules_table
from studies.draws.settings import Compressed, load_settings, params_of
from tests.project.closure import ROOT
from tests.training.test_pilot import OPTIONS, pilot
from tests.training.test_training import learnable

FACTS = EncoderFacts("bert", layers=2, hidden=8, parameters=100)
SCORES = {"adapter": 0.75, "lora": 0.5, "prefix": 0.25, "head": 0.125}


def plan(method, kind, rate=0.1):
    layers = (ModuleKind(kind),) * 2 if kind != "head" else (None, None)
    rates = LearningRates() if kind == "head" else LearningRates(**{kind: rate})
    return Plan("sst2", method, FACTS, layers, Reason("uniform"), 10, learning_rate=rates)


def chosen(grid, draw, winner, kept=10):
    own = {kind: plan(kind, kind) for kind in SCORES} | {"fishpal": plan("fishpal", winner)}
    own["small"] = replace(plan("small", "lora"), kept=kept)
    plans = {name: own[name].to_json() for name in grid.methods}
    curve = (CurvePoint(0, 0.0, None, 1.0, 1.0, True), CurvePoint(150, 1.0, 0.5, 0.5, 0.5, True))
    pilot = Pilot(100, "pilot", 0.7, (Arm("lora", 0.1, curve),)).to_json()
    found = {"grid": grid.name, "task": "sst2", "draw": draw, "pilot": pilot, "plans": plans}
    return json.loads(json.dumps(found))  # as it comes from the file


def line(grid, draw, method, score, seed=0, **more):
    right = np.packbits(np.arange(8) < 8 * score).tobytes().hex()
    columns = {"grid": grid.name, "task": "sst2", "draw": draw, "method": method, "seed": seed}
    own = {"score": score, "right": right, "loss": 1 - score, "kept": 10, "diverged": False}
    return columns | own | more


@pytest.fixture
def stores(tmp_path, monkeypatch):
    made = Store(tmp_path / "chosen.jsonl"), Store(tmp_path / "trained.jsonl")
    for module in (races, thesis, trainings):
        monkeypatch.setattr(module, "CHOSEN", made[0])
    monkeypatch.setattr(trainings, "TRAINED", made[1])
    return made


def test_a_grid_is_its_params_file_but_for_what_it_changes(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert params_of("race").catalog["movies"].sizes.selection == 300
    assert params_of("thesis_1000").train.updates == 1000
    assert [params_of(name).train.recover for name in ("former", "former_recover")] == [False, True]
    for grid in load_settings().grids:
        assert {*grid.methods} <= {*params_of(grid.name).methods}
        assert {*grid.tasks} <= {*params_of(grid.name).catalog}


def test_averaged_pilots_are_those_of_the_same_race(tiny_encoder):
    schedules = ("linear", "averaged")
    options = [replace(OPTIONS, schedule=each, max_updates=128) for each in schedules]
    falling, own = (pilot(tiny_encoder, each, learnable(64)) for each in options)
    assert trainings.averaged(falling) == own != falling


def test_schedules_are_compared_draw_by_draw(stores):
    """Of a task by those draws that both have."""
    falling, averaged = (load_settings().grid(name) for name in ("race", "race_averaged"))
    gains = {"adapter": (0.0, 0.125), "lora": (-0.25, 0.0), "prefix": (0.125, 0.25)}
    for grid, draws in ((falling, (0, 1, 2)), (averaged, (1, 2))):
        for draw in draws:
            stores[0].add(chosen(grid, draw, "lora"))
            for method, score in SCORES.items():
                more = gains.get(method, (0, 0))[draw - 1] if grid is averaged else 0.0
                name = "fishpal" if method == "lora" else method
                stores[1].add(line(grid, draw, name, score + more))
    means = 100 * np.array(list(gains.values())).mean(axis=0)
    half = stats.t.ppf(0.975, 1) * means.std(ddof=1) / np.sqrt(2)
    last = f"{means.mean():+.1f} [{means.mean() - half:+.1f}, {means.mean() + half:+.1f}]"
    _, _, row, total = schedules_table(falling, averaged).splitlines()
    cells = ["`sst2`", "2", "100", *(f"{100 * np.mean(gains[kind]):+.1f}" for kind in KINDS), last]
    assert row.strip("| ").split(" | ") == cells
    assert [each.strip() for each in total.strip("|").split("|")] == ["all", "2", *[""] * 4, last]


def test_every_plan_is_trained_once_a_seed(stores):
    grid = load_settings().grid("race")
    found = chosen(grid, 0, "lora")
    assert trainings.trained_as(found) == {
        "fishpal": "fishpal", "adapter": "adapter", "lora": "fishpal", "prefix": "prefix",
        "head": "head",
    }  # fmt: skip
    cells = [("fishpal", 0), ("adapter", 0), ("prefix", 0), ("head", 0)]
    assert list(trainings.cells(grid, found)) == cells


def test_a_race_is_compared_with_the_kind_that_is_best_over_complete_draws(stores):
    grid = load_settings().grid("race")
    for draw, winner in enumerate(["lora", "adapter", "adapter"]):
        stores[0].add(found := chosen(grid, draw, winner))
        for method in dict.fromkeys(trainings.trained_as(found).values()):
            score = SCORES[winner if method == "fishpal" else method]
            if (draw, method) != (2, "head"):  # the third draw is not complete
                stores[1].add(line(grid, draw, method, score))
    draws = races.Draws(grid, "sst2")
    assert (len(draws), draws.best_kind(), draws.cost()) == (2, "adapter", 1.5)
    assert list(draws.scores("fishpal")) == [50.0, 75.0]
    row = races.decisions_table(grid).splitlines()[-1]
    assert row.startswith("| `sst2` | 1 × lora, 1 × adapter | adapter | -12.5 [")
    assert row.endswith("| -25.0 | -12.5 | 100–100 | 1.5 |")
    instead = [row.split(" | ") for row in races.always_table(grid).splitlines()[2:]]
    # 50 and 75 against twice 75, 50 and 25
    assert [(row[0], row[1][:5], row[2], row[3]) for row in instead] == [
        ("| prefix", "+37.5", "2–0", "+37.5 |"), ("| adapter", "-12.5", "0–1", "-12.5 |"),
        ("| lora", "+12.5", "1–0", "+12.5 |"),
        ("| each task's best kind", "-12.5", "0–1", "-12.5 |"),
    ]  # fmt: skip
    assert "| `sst2` | 2 | 62.5 ± 17.7 | **75.0** ± 0.0 |" in races.scores_table(grid)


def test_the_interval_is_the_paired_t_test_s():
    one, other = np.array([70.0, 72, 71, 75]), np.array([71.0, 74, 71, 77])
    low, high = stats.ttest_rel(one, other).confidence_interval(0.95)
    assert races.over_draws(one - other) == f"-1.2 [{low:+.1f}, {high:+.1f}]"
    assert races.over_draws(np.array([-1.0, -1.1, -0.9])) == "**-1.0 [-1.2, -0.8]**"
    assert races.over_draws(np.zeros(3)) == "0.0"


def test_a_diverged_training_answers_nothing(stores):
    grid = replace(load_settings().grid("race"), tasks=("sst2",), seeds=(0, 1))
    for draw in (0, 1):
        stores[0].add(chosen(grid, draw, "lora"))
        for method in ("fishpal", "adapter", "prefix", "head"):
            for seed in grid.seeds:
                found = line(grid, draw, method, SCORES.get(method, 0.5), seed)
                if (draw, method, seed) == (1, "prefix", 1):
                    found = {k: found[k] for k in ("grid", "task", "draw", "method", "seed")}
                    found["diverged"] = True
                stores[1].add(found)
    assert list(races.Draws(grid, "sst2").scores("prefix")) == [25.0, 12.5]
    assert "| `prefix` | `PP` | 0.1 | 12.5 ± 17.7 |" in "\n".join(thesis.thesis_tables(grid))
    lost = thesis.lost_table([grid]).splitlines()
    assert "| prefix | 0.1 | yes | 25.0, 0.0 | 0 |" in lost


def test_published_and_auto_rates_stand_in_tables_of_their_own(stores):
    grid = replace(load_settings().grid("race"), tasks=("sst2",), seeds=(0, 1))
    found = chosen(grid, 0, "lora")
    found["plans"]["published_lora"] = json.loads(
        json.dumps(plan("published_lora", "lora", 0.5).to_json())
    )
    stores[0].add(found)
    for seed in grid.seeds:
        for method in ("fishpal", "adapter", "head", "published_lora"):
            stores[1].add(line(grid, 0, method, SCORES.get(method, 0.5), seed))
    published, auto = [part for part in thesis.thesis_tables(grid) if part.startswith("| method")]
    assert [row.split("|")[1].strip() for row in published.splitlines()[2:]] == ["`lora`", "`head`"]
    names = [row.split("|")[1].strip() for row in auto.splitlines()[2:]]
    assert names == ["`adapter`", "`fishpal`", "`lora`", "`head`"]  # prefix has no training
    assert "| `LL` | 0.5 | 50.0 ± 0.0 |  |" in published
    assert "**-25.0 [" in auto or "-25.0 [" in auto


@pytest.mark.parametrize(("name", "said"), [("former", "no | 75.0 | "), ("former_recover", "yes")])
def test_what_former_rates_lost_says_whether_trainings_were_led_back(stores, name, said):
    grid = replace(load_settings().grid(name), seeds=(0,))
    stores[0].add(chosen(grid, 0, "lora"))
    stores[1].add(line(grid, 0, "adapter", 0.75, collapsed=True))
    (row,) = thesis.lost_table([grid]).splitlines()[2:]
    assert row.startswith(f"| adapter | 0.1 | {said}")
    assert row.endswith("| 75.0 | 1 |" if name.endswith("recover") else "| 75.0 |  |")


def test_compressed_modules_against_whole_ones_and_rivals(tmp_path, monkeypatch):
    """Over the draws that a task and kind have; both kinds' mean where a draw has both."""
    store = Store(tmp_path / "compressed.jsonl")
    monkeypatch.setattr(compressed_table, "COMPRESSED", store)
    settings = Compressed("race", ("adapter", "lora"), (0.25, 0.125), 0.01)
    gains = {"0.25": 0.02, "0.125": 0.0, "margin": 0.01, "again": 0.0, "scratch": -0.01}
    rng, seen = np.random.default_rng(0), {}
    for task, draw, kind in product(("sst2", "snli"), range(3), settings.kinds):
        if (task, draw) == ("snli", 2) or (task, kind, draw) == ("snli", "adapter", 1):
            continue  # of snli adapters have one draw: no spread
        for variant, gain in ({"whole": 0.0} | gains).items():
            found = gain + float(rng.normal(scale=0.01)) if gain else 0.0
            seen[task, draw, kind, variant] = 100 * found
            columns = {"grid": "race", "task": task, "draw": draw, "kind": kind}
            modules = {"margin": 50 if draw else 100}.get(variant, 100)
            store.add(columns | {"variant": variant, "score": 0.8 + found, "modules": modules})
    rows = [
        line.split(" | ") for line in compressed_table.compressed_table(settings).splitlines()[2:]
    ]
    names = [(row[0].strip("| `"), row[1], row[2]) for row in rows]
    assert names == [("sst2", "adapter", "3"), ("sst2", "lora", "3"), ("snli", "lora", "2"),
                     ("all", "mean", "4")]  # fmt: skip
    assert [row[7] for row in rows] == ["67%", "67%", "75%", ""]
    own = np.array([seen["sst2", draw, "lora", "0.25"] for draw in range(3)])
    assert rows[1][4].strip("*") == races.over_draws(own).strip("*")
    draws = [("sst2", 0), ("sst2", 1), ("sst2", 2), ("snli", 0)]
    means = [np.mean([seen[*each, kind, "scratch"] for kind in settings.kinds]) for each in draws]
    assert rows[3][9].strip("* |") == races.over_draws(np.array(means)).strip("*")
