"""A regression's labels: their scale, and those that lie far beyond it."""

import numpy as np
from numpy.typing import NDArray

from fishpal.common.errors import DataError, caution
from fishpal.records.card import FAR
from fishpal.records.facts import Scale

MOST = 1e18  # standard deviations, whose square float32 holds
NORMAL = 1.349  # standard deviations between a normal distribution's quartiles
FEW = 0.1  # share of a part: more rows are no stray labels, but how labels are


def scale_of(labels: NDArray[np.float64], name: str) -> Scale:
    """The scale of a regression's fit part; `DataError` names the task `name` where it has none."""
    try:
        return Scale.of(labels)
    except DataError as error:
        farthest = f"label {labels[np.argmax(np.abs(labels))]:g} is the largest"
        raise DataError(f"{name}: fit: {error} ({farthest})") from error


def far_label(
    labels: NDArray[np.float64],
    scale: Scale,
    name: str,
    part: str,
    usual: NDArray[np.float64] | None = None,
) -> float | None:
    """The label farthest from fit's mean, with a warning, where it lies more than `FAR` away, or
    where few labels make most of the loss.

    Args:
        usual: the labels of fit. Stray ones widen their own scale, so that none of a hundred rows
            can be 10 standard deviations away, nor any value that every hundredth row has.

    Raises:
        DataError: where it lies so far that no loss is finite.
    """
    with np.errstate(over="ignore"):
        farthest = float(labels[np.argmax(np.abs(labels - scale.mean))])
    away = abs(scale.standardise(farthest))
    spread = f"{scale.mean:g} ± {abs(scale.sd):g}"
    if away > MOST:
        what = f"{name}: {part}: label {farthest:g}"
        raise DataError(f"{what}; allowed: within {MOST:g} standard deviations of fit's, {spread}")
    rules = {"fit": "the loss", "selection": "what is picked"}.get(part, "the scores")
    what, rows = f"{name}: label {farthest:g} of {part}", int((labels == farthest).sum())
    if away > FAR:
        far = f"more than {FAR} standard deviations from the mean of fit"
        caution(f"{what} is {far}, {spread}: it rules {rules}")
    elif usual is not None and _stray(labels, quartiles := np.quantile(usual, [0.25, 0.5, 0.75])):
        low, middle, high = quartiles
        among = f"({rows} of {len(labels)} rows) is far from fit's median {middle:g}"
        caution(f"{what} {among} (half of its labels: {low:g} to {high:g}): it rules {rules}")
    else:
        return None
    return farthest


def _stray(labels: NDArray[np.float64], quartiles: NDArray[np.float64]) -> bool:
    """Whether few labels lie far beyond the quartiles of usual ones, and make more than half of
    the squared distances to their median: what is learnt is them."""
    low, middle, high = quartiles
    away = np.abs(labels - middle)
    far = away > FAR * (high - low) / NORMAL
    squares = (away / max(away.max(), np.finfo(float).tiny)) ** 2
    stray = 0 < far.mean() <= FEW and squares[far].sum() > squares[~far].sum()
    return bool(high > low and stray)
