"""What rules of keeping a look get, of looks made by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from studies.recipe import trainings
from studies.recipe.report import by_dropout, by_length, by_rule
from studies.recipe.rules import RULES, Look, outcomes
from studies.recipe.settings import load_settings

RNG = np.random.default_rng(0)
LABELS = RNG.integers(2, size=400).tolist()


def looks_of(signals, confidences):
    """Logits that tell the class by `signal` standard deviations, times a confidence."""
    truth = np.array(LABELS) * 2 - 1
    noise = RNG.normal(size=400)
    found = []
    for step, (signal, confidence) in enumerate(zip(signals, confidences, strict=True)):
        score = confidence * (signal * truth + noise)
        logits = np.stack([-score, score], axis=1).astype(np.float32)
        found.append(Look(8 * step, logits[:200], logits[200:]))
    return found


def accuracy(logits):
    return float(np.mean(logits.argmax(axis=1) == LABELS[200:]))


def kept(looks):
    found = outcomes(looks, LABELS[:200], LABELS[200:], accuracy)
    assert [each.rule for each in found] == list(RULES)
    return {each.rule: each for each in found}


def test_confidence_that_outgrows_accuracy_misleads_the_plain_loss_alone():
    found = kept(looks_of([0.0, 0.5, 1.5], [0.1, 0.5, 30.0]))
    assert found["loss"].update == 8
    assert found["lowest"].update == found["refined"].update == found["last"].update == 16
    assert found["refined"].score > found["loss"].score
    assert found["refined"].loss < found["loss"].loss


def test_a_look_that_is_shown_worse_is_not_kept():
    found = kept(looks_of([0.0, 1.5, 0.3], [1.0, 1.0, 1.0]))
    assert found["refined"].update == found["lowest"].update == found["loss"].update == 8
    assert found["last"].update == 16


def test_tables_hold_means_and_paired_differences():
    rows = [
        {"task": "t", "updates": 8, "dropout": dropout, "seed": 0, "kind": kind, "rule": rule,
         "update": 8, "score": 0.5 + gain * (not dropout), "loss": 1.0}
        for dropout in (True, False) for kind, gain in (("lora", 0.1), ("prefix", 0.3))
        for rule in RULES
    ]  # fmt: skip
    found = pd.DataFrame(rows)
    assert "| t | 8 | off | 2 | 70.0 (1.000) |" in by_rule(found)
    assert "| all |  |  | 4 | 60.0 (1.000) |" in by_rule(found)
    longer = found[~found.dropout].assign(updates=16, score=0.9)
    lines = by_length(pd.concat([found, longer, longer.assign(task="u")])).splitlines()
    assert lines[0] == "| task | 8 | 16 |"
    assert lines[2:] == ["| t | 70.0 (1.000) | 90.0 (1.000) |", "| u |  | 90.0 (1.000) |"]
    assert "| t | 8 | 2 | +20.0 ± 10.0 | +0.000 ± 0.000 |" in by_dropout(found)


def test_a_regression_is_kept_by_its_line():
    truth = RNG.normal(size=60)
    near, far = truth + 0.1, 0.01 * truth + 5 + 0.002 * RNG.normal(size=60)
    looks = [
        Look(u, z[:30, None].astype(np.float32), z[30:, None].astype(np.float32))
        for u, z in enumerate((far, near))
    ]
    found = outcomes(looks, truth[:30].tolist(), truth[30:].tolist(), lambda z: float(z.mean()))
    by_name = {each.rule: each for each in found}
    assert by_name["refined"].update == 1
    assert by_name["refined"].loss == pytest.approx(0, abs=1e-6) and by_name["loss"].update == 1


def test_a_stored_cell_is_not_trained_again():
    """Nor are rows or an encoder looked for."""
    settings, before = load_settings(), trainings.TRAINED.lines()
    trainings.run_training(settings, settings.cells[0], "lora")
    assert trainings.TRAINED.lines() == before and before
