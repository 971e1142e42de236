"""Is one method better than another? A paired bootstrap over seeds and examples."""

from collections.abc import Iterator
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
    """A method's mean score over seeds, and the same on every resample (resamples,)."""

    mean: float
    resampled: Values
    confidence: float

    def interval(self) -> tuple[float, float]:
        """The (1-confidence)/2 and (1+confidence)/2 percentiles of the resamples."""
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(self.resampled, [tail, 1 - tail])
        return float(low), float(high)

    def minus(self, other: Self) -> Difference:
        """Paired: both are of the same seeds and so of the same resamples."""
        mean, resampled = self.mean - other.mean, self.resampled - other.resampled
        return Difference(mean, *Score(mean, resampled, self.confidence).interval())


@dataclass(frozen=True)
class Bootstrap:
    """A metric on one split's labels (n,), and how it is resampled; `classes` 1: a regression.

    One resample draws S of the S seeds and n of the n examples with replacement, the same ones
    for every method (paired) and the same examples for every seed, and takes

        (1/S) Σ_s metric(predictions_s)

    over the drawn seeds s on the drawn examples. Intervals, of a score or of the difference of
    two, are between percentiles of the resamples (percentile interval, Efron & Tibshirani 1993,
    chapter 13; both levels resampled, Davison & Hinkley 1997, section 3.8).

    Limits: S seeds drawn with replacement spread (S-1)/S as much, in variance, as S new seeds
    would. With two seeds half of the variance between seeds is missed, and a quarter of the
    resamples each see one seed alone; with one seed none of it is seen. The interval then is
    too narrow. It knows nothing of the variance of selecting the plan or drawing the training
    data, and is not corrected for the number of comparisons.
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
        drawn = draw_seeds(len(predictions), self.options)
        resampled = np.take_along_axis(self._resample(predictions), drawn, axis=1)
        mean = np.mean([self.metric(self.labels, row, self.classes) for row in predictions])
        return Score(float(mean), resampled.mean(axis=1), self.options.confidence)

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
