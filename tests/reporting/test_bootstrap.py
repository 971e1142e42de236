"""The bootstrap against a plain loop, and how often its intervals hold the truth."""

from __future__ import annotations

import itertools
import math
import statistics

import numpy as np
import pytest
from scipy import stats

from fishpal.common.errors import DataError, ParamsError
from fishpal.metrics import METRICS, accuracy, pearson
from fishpal.params.report_options import ReportOptions
from fishpal.reporting.bootstrap import (
    Bootstrap,
    Difference,
    draw_examples,
    draw_seeds,
    level_of_pairs,
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
    seeds = range(len(first))
    differences, of_all = [], []
    for drawn_seeds, drawn in zip(draw_seeds(len(first), options), examples, strict=True):
        y = np.array([labels[i] for i in drawn])
        rows = [np.array([[p[s][i] for i in drawn] for s in seeds]) for p in (first, second)]
        scores = [metric(y, rows[0][s], classes) - metric(y, rows[1][s], classes) for s in seeds]
        differences.append(sum(scores[s] for s in drawn_seeds) / len(scores))
        of_all.append(sum(scores) / len(scores))
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(differences, [tail, 100 - tail])
    if len(first) == 1:
        return low, high
    own = [metric(labels, first[s], classes) - metric(labels, second[s], classes) for s in seeds]
    between = statistics.variance(own) / len(own)
    whole = statistics.pvariance(of_all) + between
    freedom = whole**2 / (between**2 / (len(own) - 1))
    wanted = stats.t.ppf((1 + confidence) / 2, freedom) * math.sqrt(whole)
    given = stats.norm.ppf((1 + confidence) / 2) * statistics.pstdev(differences)
    middle = statistics.fmean(differences)
    return middle + (low - middle) * wanted / given, middle + (high - middle) * wanted / given


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
    found = paired_difference(pearson, labels, first, second, 1, ReportOptions(50, seed=1))
    low, high = plain_loop(pearson, labels, first, second, 1, 50, 0.95, 1)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)


def test_fast_path_of_accuracy_equals_the_general_one():
    labels, first, second = make(3, n=500)

    def slow_accuracy(y, p, classes):
        return accuracy(y, p, classes)

    fast = paired_difference(accuracy, labels, first, second, 3, ReportOptions(300))
    slow = paired_difference(slow_accuracy, labels, first, second, 3, ReportOptions(300))
    assert (fast.low, fast.high) == pytest.approx((slow.low, slow.high), abs=1e-12)


def test_blocks_do_not_change_the_draws(monkeypatch):
    options = ReportOptions(40, seed=3)
    whole = np.concatenate(list(draw_examples(50, options)))
    monkeypatch.setattr("fishpal.reporting.bootstrap.BLOCK_VALUES", 150)
    blocks = list(draw_examples(50, options))
    assert len(blocks) == 14
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


@pytest.mark.parametrize(("seeds", "most"), [(2, 0.15), (3, 0.12), (8, 0.09)])
def test_equal_methods_whose_seeds_differ_are_seldom_called_different(seeds, most):
    """Seeds here differ by more than three times what examples do, each method's by their own.

    Percentiles alone call 25, 20 and 10 % of them different, where 5 % are meant.
    """
    rng = np.random.default_rng(0)
    wrong, runs = 0, 400
    for run in range(runs):
        skill = np.clip(rng.normal(0.7, 0.08, size=(2, seeds)), 0, 1)
        labels = np.zeros(400, dtype=int)
        first, second = (rng.random((2, seeds, 400)) > skill[:, :, None]).astype(int)
        found = paired_difference(accuracy, labels, first, second, 2, ReportOptions(200, seed=run))
        wrong += found.excludes_zero
    assert 0.02 < wrong / runs < most


def make_equal(rng, methods, examples, options):
    """Scores of methods equally good in the mean, whose three seeds differ as examples do."""
    hard = rng.normal(1, 1, size=examples)
    skill = rng.normal(0, 0.08, size=(methods, 3, 1))
    wrong = hard + skill + rng.normal(0, 1, size=(methods, 3, examples)) < 0
    bootstrap = Bootstrap(accuracy, np.zeros(examples, dtype=int), 2, options)
    return [bootstrap.score(rows.astype(int)) for rows in wrong]


def test_the_level_of_pairs_equals_plain_loops():
    scores = make_equal(np.random.default_rng(0), 4, 200, ReportOptions(100, 0.9))
    largest = [0.0] * 100
    for first, second in itertools.combinations(scores, 2):
        drawn = [float(a - b) for a, b in zip(first.drawn, second.drawn, strict=True)]
        middle, spread = statistics.fmean(drawn), statistics.pstdev(drawn)
        largest = [
            max(one, abs(d - middle) / spread) for one, d in zip(largest, drawn, strict=True)
        ]
    expected = 2 * stats.norm.sf(np.percentile(largest, 90))
    assert level_of_pairs(scores) == pytest.approx(expected, rel=1e-6)
    assert 0.1 / 6 < expected < 0.05
    wide, narrow = scores[0].minus(scores[1], expected), scores[0].minus(scores[1])
    assert wide.high - wide.low > 1.2 * (narrow.high - narrow.low)
    assert wide.difference == narrow.difference


def test_equal_methods_count_once_among_the_pairs():
    one, other, third = make_equal(np.random.default_rng(1), 3, 200, ReportOptions(200))
    assert level_of_pairs([one, other, one, third, third]) == level_of_pairs([one, other, third])
    assert level_of_pairs([one, one]) == level_of_pairs([one]) == pytest.approx(0.05)


def test_of_equal_methods_few_are_called_worse_than_the_best_in_hindsight():
    """Intervals of one pair each say it of one or more in a fifth of the tables."""
    rng = np.random.default_rng(0)
    together = alone = 0
    for run in range(100):
        scores = make_equal(rng, 4, 800, ReportOptions(200, seed=run))
        best, level = max(scores, key=lambda score: score.mean), level_of_pairs(scores)
        together += any(score.minus(best, level).excludes_zero for score in scores)
        alone += any(score.minus(best).excludes_zero for score in scores)
    assert alone > 15 and together <= 10


def test_what_trainings_learnt_is_asked_of_these_trainings():
    """Of two that differ much, each well above chance, other seeds might be below."""
    labels = np.zeros(400, dtype=int)
    share = np.arange(400) / 400
    good, chance = np.stack([share > 0.95, share > 0.65]), np.stack([share > 0.5] * 2)
    bootstrap = Bootstrap(accuracy, labels, 2)
    learnt, floor = bootstrap.score(good.astype(int)), bootstrap.score(chance.astype(int))
    assert not learnt.minus(floor).excludes_zero
    assert learnt.is_above(floor) and not floor.is_above(learnt) and not floor.is_above(floor)


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


def test_fewer_resamples_than_have_such_percentiles_are_refused():
    with pytest.raises(
        ParamsError, match="resamples is 39; allowed: 40 or more at this confidence"
    ):
        ReportOptions(resamples=39)
    assert ReportOptions(resamples=3, confidence=0.01)
    with pytest.raises(ParamsError, match="allowed: 2000 or more"):
        ReportOptions(resamples=1999, confidence=0.999)


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
