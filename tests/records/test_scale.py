"""Regression targets standardised: any affine change of the labels trains the same."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from fishpal.common.errors import DataError, FishpalError
from fishpal.common.kinds import HeadInit
from fishpal.fisher.engine import measure_fisher
from fishpal.models.head import start_head
from fishpal.models.planned import plan_model
from fishpal.models.predict import decide, predict
from fishpal.params.methods import ByCriterion
from fishpal.params.options import (
    FisherOptions,
    HeadOptions,
    RateOptions,
    SelectOptions,
    TrainOptions,
)
from fishpal.records.facts import Scale, TaskFacts
from fishpal.records.pilot import Pilot
from fishpal.records.task import TokenisedTask
from fishpal.selection.methods import select_plan
from fishpal.training.train import train
from tests.conftest import random_examples
from tests.modules.test_modules import SMALL

EXAMPLES = random_examples(40, classes=1)
AFFINE = [(1.0, 0.0), (20.0, 3.0), (1e-3, 2000.0), (-5.0, 0.1), (-1e6, -1e7)]


def task_of(a: float, b: float) -> TokenisedTask:
    """The examples with labels a·y + b, as `tokenize` hands them on."""
    raw = [a * example.label + b for example in EXAMPLES]
    scale = Scale.of(raw[:30])
    rows = [
        replace(example, label=scale.standardise(label))
        for example, label in zip(EXAMPLES, raw, strict=True)
    ]
    return TokenisedTask(TaskFacts("r", None, 0, scale), rows[:30], rows[30:])


def run(encoder, task, init):
    head = start_head(encoder, task, HeadOptions(init=init))
    table, grams = measure_fisher(
        encoder, head, task, SMALL, FisherOptions(device="cpu"), progress=False
    )
    pilot = Pilot(2, "updates", 0.5)
    plan = select_plan(table, grams, "m", ByCriterion(), SelectOptions(), RateOptions(), pilot)
    model = plan_model(encoder, head, plan, 0)
    train(model, plan, task, TrainOptions(epochs=2, device="cpu"), 0, progress=False)
    return plan, decide(predict(model, task.selection, task.facts), task.facts)


@pytest.mark.parametrize("init", list(HeadInit))
def test_an_affine_change_of_the_labels_changes_nothing(tiny_encoder, init):
    (plan, predicted), *others = [run(tiny_encoder(), task_of(*ab), init) for ab in AFFINE]
    for (a, b), (other, values) in zip(AFFINE[1:], others, strict=True):
        assert other.to_json() == plan.to_json()
        # what the labels' own rounding leaves of a·y + b
        np.testing.assert_allclose((values - b) / a, predicted, rtol=1e-6, atol=1e-6)


def test_standardised_labels_have_mean_0_and_deviation_1():
    fit = [example.label for example in task_of(7.0, 100.0).fit]
    assert np.mean(fit) == pytest.approx(0, abs=1e-6)
    assert np.std(fit) == pytest.approx(1, abs=1e-6)
    assert next(z for z in fit if abs(z) > 1e-6) > 0
    scale = Scale.of([2000.0, 2001.0, 2000.0])
    assert scale.restore(np.array([scale.standardise(2001.0)])) == pytest.approx(2001.0, abs=1e-5)


@pytest.mark.parametrize("labels", [[1.0, 1.0], [0.0, math.inf], [1e300, -1e300]])
def test_labels_without_a_usable_spread(labels):
    with pytest.raises(DataError, match="standard deviation of .*; allowed: finite, above 0"):
        Scale.of(labels)


def test_task_facts_round_trip_and_scales_of_classes(tmp_path):
    facts = task_of(3.0, 1.0).facts
    facts.save(tmp_path / "task.json")
    assert TaskFacts.load(tmp_path / "task.json") == facts
    classes = TaskFacts("c", ("a", "b"), 0)
    classes.save(tmp_path / "task.json")
    assert "scale" not in (tmp_path / "task.json").read_text(), "bytes of classifications stay"
    with pytest.raises(FishpalError, match="scale is given with labels"):
        TaskFacts("c", ("a", "b"), 0, facts.scale)
