"""The bootstrap against a plain loop, and how often its intervals hold the truth."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fishpal.common.errors import DataError
from fishpal.metrics import METRICS, accuracy, pearson
from fishpal.params.report_options import ReportOptions
from fishpal.reporting.bootstrap import (
    Bootstrap,
    Difference,
    draw_examples,
    draw_seeds,
    paired_difference,
)


def make(seed, seeds=2, n=60, classes=3, skill=(0.8, 0.6)):
    """Labels (n,) and two methods' predictions (seeds, n), right with the given rates."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=n)
    guesses = rng.integers(classes, size=(2, seeds, n))
    right = rng.random((2, seeds, n)) < np.array(skill)[:, None, None]
    first, second = np.where(right, labels, guesses)
    return labels, first, second


def plain_loop(metric, labels, first, second, classes, resamples, confidence, seed):
    """The definition, one resample, one seed and one example at a time."""
    options = ReportOptions(resamples, confidence, seed)
    examples = itertools.chain.from_iterable(draw_examples(len(labels), options))
    differences = []
    for drawn_seeds, drawn in zip(draw_seeds(len(first), options), examples, strict=True):
        total = 0.0
        for s in drawn_seeds:
            y = np.array([labels[i] for i in drawn])
            a = np.array([first[s][i] for i in drawn])
            b = np.array([second[s][i] for i in drawn])
            total += metric(y, a, classes) - metric(y, b, classes)
        differences.append(total / len(drawn_seeds))
    tail = 100 * (1 - confidence) / 2
    return np.percentile(differences, tail), np.percentile(differences, 100 - tail)


@pytest.mark.parametrize("name", ["accuracy", "macro_f1", "matthews"])
@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_equals_a_plain_loop_on_the_same_draws(name, seeds):
    labels, first, second = make(seeds, seeds)
    metric = METRICS[name]
    found = paired_difference(metric, labels, first, second, 3, ReportOptions(40, 0.8, 5))
    low, high = plain_loop(metric, labels, first, second, 3, 40, 0.8, 5)
    expected = np.mean([metric(labels, a, 3) for a in first])
    expected -= np.mean([metric(labels, b, 3) for b in second])
    assert found.difference == pytest.approx(expected, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)
    assert found.low <= found.high


def test_equals_a_plain_loop_for_a_regression():
    rng = np.random.default_rng(0)
    labels = rng.normal(size=30)
    first, second = labels + rng.normal(size=(2, 2, 30)) * np.array([0.3, 1.0])[:, None, None]
    found = paired_difference(pearson, labels, first, second, 1, ReportOptions(30, seed=1))
    low, high = plain_loop(pearson, labels, first, second, 1, 30, 0.95, 1)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)


def test_fast_path_of_accuracy_equals_the_general_one():
    labels, first, second = make(3, n=500)

    def slow_accuracy(y, p, classes):
        return accuracy(y, p, classes)

    fast = paired_difference(accuracy, labels, first, second, 3, ReportOptions(300))
    slow = paired_difference(slow_accuracy, labels, first, second, 3, ReportOptions(300))
    assert (fast.low, fast.high) == pytest.approx((slow.low, slow.high), abs=1e-12)


def test_blocks_do_not_change_the_draws(monkeypatch):
    options = ReportOptions(20, seed=3)
    whole = np.concatenate(list(draw_examples(50, options)))
    monkeypatch.setattr("fishpal.reporting.bootstrap.BLOCK_VALUES", 150)
    blocks = list(draw_examples(50, options))
    assert len(blocks) == 7
    assert np.array_equal(np.concatenate(blocks), whole)


def test_is_deterministic_antisymmetric_and_seeded():
    labels, first, second = make(0)
    once = paired_difference(accuracy, labels, first, second, 3)
    assert once == paired_difference(accuracy, labels, first, second, 3)
    swapped = paired_difference(accuracy, labels, second, first, 3)
    assert (swapped.difference, swapped.low, swapped.high) == pytest.approx(
        (-once.difference, -once.high, -once.low)
    )
    other = paired_difference(accuracy, labels, first, second, 3, ReportOptions(seed=1))
    assert (other.low, other.high) != (once.low, once.high)


def test_equal_predictions_differ_by_exactly_zero():
    labels, first, _ = make(0)
    found = paired_difference(accuracy, labels, first, first, 3)
    assert (found.difference, found.low, found.high) == (0, 0, 0)
    assert not found.excludes_zero


def test_pairing_removes_the_variance_that_methods_share():
    labels, first, _ = make(1, n=300)
    second = first.copy()
    second[:, :10] = (labels[:10] + 1) % 3  # differs on ten examples only
    paired = paired_difference(accuracy, labels, first, second, 3)
    unrelated = paired_difference(accuracy, labels, *make(1, n=300)[1:], 3)
    assert paired.high - paired.low < 0.5 * (unrelated.high - unrelated.low)


@pytest.mark.parametrize(("seeds", "least", "most"), [(1, 0.9, 0.99), (3, 0.9, 1.0)])
def test_intervals_hold_the_true_difference(seeds, least, most):
    """95 % intervals over examples where seeds share the truth: hits in 90 to 100 %.

    With several seeds the examples' independent errors are drawn twice over (once with the
    seeds), so that intervals are wider than needed here, never too narrow.
    """
    truth, hits, runs = (0.8 - 0.6) * 2 / 3, 0, 200
    for run in range(runs):
        labels, first, second = make(1000 + run, seeds, n=150)
        found = paired_difference(accuracy, labels, first, second, 3, ReportOptions(400, seed=run))
        hits += found.low <= truth <= found.high
    assert least <= hits / runs <= most


def test_two_seeds_cover_less_than_the_confidence_of_the_seeds_variance():
    """The limit that the docstring names: with seeds that really differ, 2 seeds miss often."""
    rng = np.random.default_rng(0)
    hits = {2: 0, 8: 0}
    for seeds in hits:
        for run in range(150):
            skill = np.clip(rng.normal(0.7, 0.08, size=(2, seeds)), 0, 1)
            labels = np.zeros(400, dtype=int)
            first, second = (rng.random((2, seeds, 400)) > skill[:, :, None]).astype(int)
            found = paired_difference(
                accuracy, labels, first, second, 2, ReportOptions(300, seed=run)
            )
            hits[seeds] += found.low <= 0 <= found.high
    assert hits[2] / 150 < 0.9 < hits[8] / 150 + 0.06


def test_the_interval_of_one_score_equals_a_plain_loop():
    labels, predictions, _ = make(4, seeds=3)
    found = Bootstrap(METRICS["macro_f1"], labels, 3, ReportOptions(40, 0.8, 5)).score(predictions)
    never = np.full_like(predictions, 0)
    constant = METRICS["macro_f1"](labels, never[0], 3)
    assert found.mean == pytest.approx(
        np.mean([METRICS["macro_f1"](labels, row, 3) for row in predictions])
    )

    def above_nothing(y, p, classes):
        return METRICS["macro_f1"](y, p, classes) if p.any() else 0.0

    low, high = plain_loop(above_nothing, labels, predictions, never, 3, 40, 0.8, 5)
    assert found.interval() == pytest.approx((low, high), abs=1e-12)
    assert constant < low < found.mean < high


def test_what_rounding_leaves_is_no_difference():
    assert 0.1 + 0.2 - 0.3 > 0
    assert not Difference(0.0, 0.1 + 0.2 - 0.3, 1e-16).excludes_zero
    assert Difference(0.1, 1e-9, 0.2).excludes_zero and Difference(-0.1, -0.2, -1e-9).excludes_zero


SHAPES = [
    ((3,), (2, 3), (1, 3)),
    ((3,), (2, 4), (2, 4)),
    ((3,), (3,), (3,)),
    ((0,), (2, 0), (2, 0)),
]


@pytest.mark.parametrize("shapes", SHAPES)
def test_other_shapes_are_named(shapes):
    labels, first, second = (np.zeros(shape, dtype=int) for shape in shapes)
    with pytest.raises(DataError, match=r"allowed: .*\(seeds, n\)"):
        paired_difference(accuracy, labels, first, second, 2)
