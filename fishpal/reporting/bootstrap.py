"""Is one method better than another? A paired bootstrap over seeds and examples."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fishpal.common.errors import DataError
from fishpal.metrics import Metric, accuracy, check_classes
from fishpal.params.report_options import ReportOptions

Values = NDArray[Any]
BLOCK_VALUES = 4_000_000  # indices held at once: about 32 MB, whatever the number of resamples
ROUNDING = 1e-12  # what sums of equal shares may differ by


@dataclass(frozen=True)
class Difference:
    """The first method's mean score minus the second's, with its interval [low, high]."""

    difference: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of zero: a difference by the protocol."""
        return self.low > ROUNDING or self.high < -ROUNDING


@dataclass(frozen=True)
class Score:
    """A method's score: of every seed (S,), and of every resample, (resamples,), the mean over
    the seeds drawn with it and the mean over all seeds."""

    by_seed: Values
    drawn: Values
    all_seeds: Values
    confidence: float

    @property
    def mean(self) -> float:
        """Over seeds."""
        return float(self.by_seed.mean())

    def interval(self) -> tuple[float, float]:
        """Of seeds and examples: where the mean over other ones may lie (`Bootstrap`); no score
        is above 1 or below -1."""
        low, high = self._stretched()
        return max(low, -1.0), min(high, 1.0)

    def minus(self, other: Self, level: float | None = None) -> Difference:
        """Paired: both are of the same seeds and so of the same resamples. `level`: how often
        an interval may miss, where it is one of several (`level_of_pairs`)."""
        less = self._less(other)
        return Difference(less.mean, *less._stretched(level))

    def is_above(self, other: Self) -> bool:
        """Whether these very trainings are shown to score higher: over examples alone."""
        less = self._less(other)
        low, _ = less._percentiles(less.all_seeds)
        return low > ROUNDING

    def _less(self, other: Self) -> Self:
        parts = (self.by_seed - other.by_seed, self.drawn - other.drawn)
        return type(self)(*parts, self.all_seeds - other.all_seeds, self.confidence)

    def _stretched(self, level: float | None = None) -> tuple[float, float]:
        low, high = self._percentiles(self.drawn)
        centre, stretch = float(self.drawn.mean()), self._stretch(level)
        return centre + stretch * (low - centre), centre + stretch * (high - centre)

    def _percentiles(self, resampled: Values) -> tuple[float, float]:
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(resampled, [tail, 1 - tail])
        return float(low), float(high)

    def _stretch(self, level: float | None) -> float:
        """How much wider than its percentiles the interval has to be; 1 of a single seed and
        pair."""
        from scipy.special import stdtrit  # here: slow to import

        seeds, spread = len(self.by_seed), float(self.drawn.var())
        between = float(self.by_seed.var(ddof=1)) / seeds if seeds > 1 else 0.0
        if spread <= ROUNDING**2:
            return 1.0
        known = between <= ROUNDING**2
        variance = spread if known else float(self.all_seeds.var()) + between
        freedom = np.inf if known else (seeds - 1) * (variance / between) ** 2
        usual = 1 - self.confidence
        tails = np.array([usual if level is None else level, usual]) / 2
        wanted, percentiles = -stdtrit([freedom, np.inf], tails)
        return float(wanted / percentiles) * math.sqrt(variance / spread)


def level_of_pairs(scores: Sequence[Score]) -> float:
    """How often the interval of each pair's difference may miss, so that all hold at once.

    The single-step maximum of Westfall & Young (1993, section 2.3): of every resample the largest
    of all pairs' differences, each less its mean and in its own standard deviations; the level of
    a normal distribution beyond what 1 - `confidence` of those maxima exceed. It knows how
    methods go together, and equal ones count once. Without it one of many equal methods is worse
    than the best of them in hindsight far more often than intervals of a pair say.
    """
    from scipy.special import ndtr

    usual = 1 - scores[0].confidence
    drawn = np.stack([score.drawn - score.drawn.mean() for score in scores])
    largest = np.zeros(drawn.shape[1])
    for place, first in enumerate(drawn):
        others = np.abs(drawn[place + 1 :] - first)
        spread = np.sqrt((others**2).mean(axis=1))
        distinct = spread > ROUNDING
        shares = others[distinct] / spread[distinct, None]
        largest = np.maximum(largest, shares.max(axis=0, initial=0.0))
    return min(usual, 2 * float(ndtr(-np.quantile(largest, 1 - usual))))


@dataclass(frozen=True)
class Bootstrap:
    """A metric on one split's labels (n,), and how it is resampled; `classes` 1: a regression.

    One resample draws S of the S seeds and n of the n examples with replacement, the same ones
    for every method (paired) and the same examples for every seed, and takes

        (1/S) Σ_s metric(predictions_s)

    over the drawn seeds s on the drawn examples. Intervals, of a score or of the difference of
    two, are between percentiles of the resamples (percentile interval, Efron & Tibshirani 1993,
    chapter 13; both levels resampled, Davison & Hinkley 1997, section 3.8), stretched about
    their middle. For S seeds drawn with replacement spread (S-1)/S as much, in variance, as S
    new seeds would, and what few of them say of that variance is uncertain. With

        v_n = variance of resamples of all S seeds,  v_s = sample variance of the S scores / S

    the interval's half width should be Student's quantile of f degrees of freedom times
    √(v_n + v_s), f = (S-1) ((v_n + v_s) / v_s)² (Satterthwaite 1946); of a normal distribution
    the percentiles' is the normal quantile times the resamples' standard deviation. The stretch
    is the ratio of the two. v_s holds what examples do to each seed alone a second time, so
    that intervals are rather too wide where seeds hardly differ.

    Limits: one seed says nothing of the variance between seeds, and the interval is too narrow;
    of two, the interval is wide and yet misses more often than it says. It knows nothing of the
    variance of selecting the plan or drawing the training data. Of one pair alone: `level_of_pairs`
    is for several.
    """

    metric: Metric
    labels: Values
    classes: int
    options: ReportOptions = field(default_factory=ReportOptions)

    def score(self, predictions: Values) -> Score:
        """Of predictions (S, n), a row a training seed; `DataError` for what the metric refuses."""
        predictions = np.asarray(predictions)
        ok = self.labels.ndim == 1 and predictions.ndim == 2 and predictions.size > 0
        if not ok or predictions.shape[1] != len(self.labels):
            shapes, allowed = f"{self.labels.shape} and {predictions.shape}", "(n,) and (seeds, n)"
            what = "labels and predictions have shapes"
            raise DataError(f"{what} {shapes}; allowed: {allowed}, none empty")
        by_seed = np.array([self.metric(self.labels, row, self.classes) for row in predictions])
        resampled = self._resample(predictions)
        seeds = draw_seeds(len(predictions), self.options)
        drawn = np.take_along_axis(resampled, seeds, axis=1).mean(axis=1)
        return Score(by_seed, drawn, resampled.mean(axis=1), self.options.confidence)

    def _resample(self, predictions: Values) -> Values:
        """Every seed's score on every resample's examples: (resamples, S)."""
        blocks = draw_examples(len(self.labels), self.options)
        if self.metric is accuracy:  # all at once, being a mean over examples
            for row in predictions:
                check_classes(self.labels, row, self.classes)
            right = (predictions == self.labels).astype(np.int8)  # (S, n)
            means = [np.stack([r[block].mean(axis=1) for r in right], axis=1) for block in blocks]
            return np.concatenate(means)
        resamples = ((self.labels[d], predictions[:, d]) for block in blocks for d in block)
        return np.array([[self.metric(y, row, self.classes) for row in p] for y, p in resamples])


def paired_difference(
    metric: Metric,
    labels: Values,
    first: Values,
    second: Values,
    classes: int,
    options: ReportOptions | None = None,
) -> Difference:
    """Difference of two methods' mean scores; row s of both (S, n) is of the same training seed."""
    bootstrap = Bootstrap(metric, np.asarray(labels), classes, options or ReportOptions())
    if np.shape(first) != np.shape(second):
        shapes = f"{np.shape(first)} and {np.shape(second)}"
        raise DataError(f"predictions have shapes {shapes}; allowed: (seeds, n) and the same")
    return bootstrap.score(first).minus(bootstrap.score(second))


def draw_seeds(seeds: int, options: ReportOptions) -> NDArray[np.int64]:
    """Seed indices (resamples, seeds), with replacement within a row."""
    return _generator(options, 0).integers(seeds, size=(options.resamples, seeds))


def draw_examples(n: int, options: ReportOptions) -> Iterator[NDArray[np.int64]]:
    """Example indices (block, n), with replacement within a row, in blocks of all resamples.

    The draws depend on n and the options alone, so that all methods of a task are scored on the
    same resamples.
    """
    generator = _generator(options, 1)
    size = max(1, BLOCK_VALUES // n)
    for start in range(0, options.resamples, size):
        yield generator.integers(n, size=(min(size, options.resamples - start), n))


def _generator(options: ReportOptions, stream: int) -> np.random.Generator:
    return np.random.default_rng([options.seed, stream])  # one of its own for seeds, for examples
