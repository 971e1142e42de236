"""Is one method better than another? A paired bootstrap over seeds and examples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fishpal.common.checks import check, check_positive
from fishpal.common.errors import DataError
from fishpal.metrics import Metric, accuracy, check_classes

Values = NDArray[Any]
BLOCK_VALUES = 4_000_000  # indices held at once: about 32 MB, whatever the number of resamples


@dataclass(frozen=True)
class Difference:
    """The first method's mean score minus the second's, with its interval [low, high]."""

    difference: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of zero: a difference by the protocol."""
        return self.low > 0 or self.high < 0


def paired_difference(
    metric: Metric,
    labels: Values,
    first: Values,
    second: Values,
    classes: int,
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Difference of two methods' mean scores with a hierarchical paired bootstrap interval.

    One resample draws S of the S seeds and n of the n examples with replacement, the same ones
    for both methods (paired) and the same examples for every seed, and takes

        (1/S) Σ_s [ metric(first_s) - metric(second_s) ]

    over the drawn seeds s on the drawn examples. The interval is between the (1-confidence)/2
    and (1+confidence)/2 percentiles of the resamples (percentile interval, Efron & Tibshirani
    1993, chapter 13; both levels resampled, Davison & Hinkley 1997, section 3.8).

    Limits: S seeds drawn with replacement spread (S-1)/S as much, in variance, as S new seeds
    would. With two seeds half of the variance between seeds is missed, and a quarter of the
    resamples each see one seed alone; with one seed none of it is seen. The interval then is
    too narrow. It knows nothing of the variance of selecting the plan or drawing the training
    data, and is not corrected for the number of comparisons.

    Args:
        metric: function of labels, predictions and classes.
        labels: (n,).
        first, second: predictions (S, n); row s of both is of the same training seed.
        classes: the number of classes; 1 for a regression.

    Raises:
        DataError: arrays of other shapes.
        ParamsError: resamples or confidence out of range.
    """
    labels, first, second = np.asarray(labels), np.asarray(first), np.asarray(second)
    check_positive(resamples=resamples)
    check(0 < confidence < 1, "confidence", confidence, "between 0 and 1")
    _check_shapes(labels, first, second)
    difference = _difference_by_seed(metric, labels, first, second, classes).mean()
    if metric is accuracy:
        by_seed = _accuracy_by_seed(labels, first, second, classes, resamples, seed)
    else:
        by_seed = _any_by_seed(metric, labels, first, second, classes, resamples, seed)
    resampled = np.take_along_axis(by_seed, draw_seeds(len(first), resamples, seed), axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled.mean(axis=1), [tail, 1 - tail])
    return Difference(float(difference), float(low), float(high))


def draw_seeds(seeds: int, resamples: int, seed: int) -> NDArray[np.int64]:
    """Seed indices (resamples, seeds), with replacement within a row."""
    return _generator(seed, 0).integers(seeds, size=(resamples, seeds))


def draw_examples(n: int, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Example indices (block, n), with replacement within a row, in blocks of all resamples.

    The draws depend on n, resamples and seed alone, so that every pair of methods of a task is
    compared on the same resamples.
    """
    generator = _generator(seed, 1)
    size = max(1, BLOCK_VALUES // n)
    for start in range(0, resamples, size):
        yield generator.integers(n, size=(min(size, resamples - start), n))


def _generator(seed: int, stream: int) -> np.random.Generator:
    return np.random.default_rng([seed, stream])  # independent streams for seeds and examples


def _difference_by_seed(
    metric: Metric, labels: Values, first: Values, second: Values, classes: int
) -> Values:
    """metric(first_s) - metric(second_s) for every seed s: (S,)."""
    pairs = zip(first, second, strict=True)
    return np.array([metric(labels, a, classes) - metric(labels, b, classes) for a, b in pairs])


def _any_by_seed(
    metric: Metric,
    labels: Values,
    first: Values,
    second: Values,
    classes: int,
    resamples: int,
    seed: int,
) -> Values:
    """`_difference_by_seed` on one resample after the other: (resamples, S)."""
    resampled = [
        _difference_by_seed(metric, labels[drawn], first[:, drawn], second[:, drawn], classes)
        for block in draw_examples(len(labels), resamples, seed)
        for drawn in block
    ]
    return np.stack(resampled)


def _accuracy_by_seed(
    labels: Values, first: Values, second: Values, classes: int, resamples: int, seed: int
) -> Values:
    """`_difference_by_seed` for accuracy on every resample at once: (resamples, S)."""
    for predictions in (*first, *second):
        check_classes(labels, predictions, classes)
    # An example adds 1, 0 or -1 for each seed; a resample's difference is the mean of these.
    gains = (first == labels).astype(np.int8) - (second == labels).astype(np.int8)  # (S, n)
    blocks = draw_examples(len(labels), resamples, seed)
    means = [np.stack([gain[drawn].mean(axis=1) for gain in gains], axis=1) for drawn in blocks]
    return np.concatenate(means)


def _check_shapes(labels: Values, first: Values, second: Values) -> None:
    ok = labels.ndim == 1 and first.ndim == 2 and labels.size > 0 and len(first) > 0
    if not ok or first.shape != second.shape or first.shape[1] != len(labels):
        raise DataError(
            f"labels and predictions have shapes {labels.shape}, {first.shape} and"
            f" {second.shape}; allowed: (n,), (seeds, n) and (seeds, n), none empty"
        )
