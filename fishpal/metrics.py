"""Scores of predictions, in NumPy alone.

Every metric is a function of

    labels       (n,)  class indices, or the targets of a regression
    predictions  (n,)  class indices, or the predicted values of a regression
    classes      the number of classes C (1 for a regression, where it is not used)

and returns a number where higher is better. The confusion matrix N has rows for labels and
columns for predictions: N[i, j] examples of class i were predicted as class j.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fishpal.common.checks import check_choice
from fishpal.common.errors import DataError
from fishpal.common.kinds import MetricName

Values = NDArray[Any]
Metric = Callable[[Values, Values, int], float]


def accuracy(labels: Values, predictions: Values, classes: int) -> float:
    """Share of examples whose class is predicted: (1/n) Σ_i [predictions_i = labels_i].

    Raises:
        DataError: no examples, unequal lengths, or a class outside 0..C-1; so do the others.
    """
    labels, predictions = check_classes(labels, predictions, classes)
    return float(np.mean(labels == predictions))


def f1(labels: Values, predictions: Values, classes: int) -> float:
    """F1 of class 1: 2 TP / (2 TP + FP + FN) (van Rijsbergen 1979).

    0 where class 1 is neither among the labels nor predicted, as scikit-learn's default.
    """
    labels, predictions = check_classes(labels, predictions, classes)
    scores, _ = _f1_by_class(confusion(labels, predictions, max(classes, 2)))
    return float(scores[1])


def macro_f1(labels: Values, predictions: Values, classes: int) -> float:
    """Unweighted mean of the F1 of the classes that occur in labels or predictions.

    A class that occurs in neither is left out, as scikit-learn does: a resample without a rare
    class is not charged a zero for it.
    """
    scores, occurs = _f1_by_class(confusion(labels, predictions, classes))
    return float(np.mean(scores[occurs]))


def matthews(labels: Values, predictions: Values, classes: int) -> float:
    """Matthews correlation for any number of classes (Gorodkin 2004), from -1 to 1.

    (c·n - Σ_k t_k p_k) / √((n² - Σ_k p_k²)(n² - Σ_k t_k²)), with c examples predicted right,
    t_k of class k and p_k predicted as k. 0 where labels or predictions are all of one class.
    """
    matrix = confusion(labels, predictions, classes)
    n, right = float(matrix.sum()), float(np.trace(matrix))
    true, predicted = matrix.sum(axis=1).astype(float), matrix.sum(axis=0).astype(float)
    spread = (n**2 - predicted @ predicted) * (n**2 - true @ true)
    return float((right * n - true @ predicted) / np.sqrt(spread)) if spread > 0 else 0.0


def pearson(labels: Values, predictions: Values, classes: int = 1) -> float:
    """Pearson's correlation: Σ (x - x̄)(y - ȳ) / √(Σ (x - x̄)² Σ (y - ȳ)²).

    0 where labels or predictions are constant (or one example is given): the correlation is
    undefined there, and a constant prediction tells nothing of the label's order.
    """
    labels, predictions = check_numbers(labels, predictions)
    if np.ptp(labels) == 0 or np.ptp(predictions) == 0:
        return 0.0
    # Scaled to a largest value of 1 before squaring, which could overflow or vanish otherwise.
    x, y = (_unit(values) for values in (labels, predictions))
    return float(np.clip(x @ y, -1.0, 1.0))


def spearman(labels: Values, predictions: Values, classes: int = 1) -> float:
    """Spearman's correlation: Pearson's of the ranks, tied values sharing their mean rank.

    0 where labels or predictions are constant.
    """
    labels, predictions = check_numbers(labels, predictions)
    return pearson(_ranks(labels), _ranks(predictions))


METRICS: dict[MetricName, Metric] = {
    MetricName(function.__name__): function
    for function in (accuracy, f1, macro_f1, matthews, pearson, spearman)
}


def metric(name: str) -> Metric:
    """The metric of that name; `ParamsError` names the known ones."""
    check_choice("metric", name, tuple(MetricName))
    return METRICS[MetricName(name)]


def compute_metrics(
    names: Sequence[str], labels: Values, predictions: Values, classes: int
) -> dict[str, float]:
    """Scores by name, in the order of `names`.

    Raises:
        ParamsError: an unknown name.
        DataError: what a metric refuses.
    """
    found = map(metric, names)
    return {each.__name__: each(labels, predictions, classes) for each in found}


def confusion(labels: Values, predictions: Values, classes: int) -> NDArray[np.int64]:
    """The confusion matrix (C, C): rows are labels, columns predictions."""
    labels, predictions = check_classes(labels, predictions, classes)
    cells = labels.astype(np.int64) * classes + predictions.astype(np.int64)
    counts = np.bincount(cells, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def check_classes(labels: Values, predictions: Values, classes: int) -> tuple[Values, Values]:
    """Both as arrays (n,); raises `DataError` unless they are class indices, as many each."""
    wanted = ("iub", "integers", f"0 to {classes - 1}")
    return _checked(labels, predictions, *wanted, lambda v: (v < 0) | (v >= classes))


def check_numbers(labels: Values, predictions: Values) -> tuple[Values, Values]:
    """Both as float64 (n,); raises `DataError` unless they are finite numbers, as many each."""
    wanted = ("iubf", "numbers", "finite numbers")
    pair = _checked(labels, predictions, *wanted, lambda v: ~np.isfinite(v))
    return pair[0].astype(np.float64), pair[1].astype(np.float64)


def _checked(
    labels: Values,
    predictions: Values,
    letters: str,
    kind: str,
    allowed: str,
    wrong: Callable[[Values], Values],
) -> tuple[Values, Values]:
    """Both as arrays (n,) of dtypes of a `kind` (by NumPy's `letters`), no value `wrong`."""
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.ndim != 1 or labels.shape != predictions.shape:
        shapes = f"{labels.shape} and {predictions.shape}"
        raise DataError(f"labels and predictions have shapes {shapes}; allowed: (n,) both")
    if labels.size == 0:
        raise DataError("labels and predictions are empty; allowed: one example or more")
    for name, values in (("labels", labels), ("predictions", predictions)):
        if values.dtype.kind not in letters:
            raise DataError(f"{name} are of type {values.dtype}; allowed: {kind}")
        if (bad := wrong(values)).any():
            row = int(np.argmax(bad))
            raise DataError(f"{name}: row {row} is {values[row]}; allowed: {allowed}")
    return labels, predictions


def _f1_by_class(matrix: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """F1 (C,) with 0 for 0/0, and which classes occur at all (C,)."""
    sums = matrix.sum(axis=0) + matrix.sum(axis=1)  # 2 TP + FP + FN
    scores = 2 * np.diag(matrix) / np.maximum(sums, 1)
    return scores, sums > 0


def _unit(values: Values) -> Values:
    centred = values / np.max(np.abs(values))
    centred = centred - centred.mean()
    centred = centred / np.max(np.abs(centred))
    return centred / np.linalg.norm(centred)


def _ranks(values: Values) -> Values:
    """Ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]
