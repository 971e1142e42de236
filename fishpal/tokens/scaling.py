"""A regression's labels: their scale, and those that lie far beyond it."""

import numpy as np
from numpy.typing import NDArray

from fishpal.common.errors import DataError, caution
from fishpal.records.card import FAR
from fishpal.records.facts import Scale

MOST = 1e18  # standard deviations, whose square float32 holds


def scale_of(labels: NDArray[np.float64], name: str) -> Scale:
    """The scale of a regression's fit part; `DataError` names the task `name` where it has none."""
    try:
        return Scale.of(labels)
    except DataError as error:
        farthest = f"label {labels[np.argmax(np.abs(labels))]:g} is the largest"
        raise DataError(f"{name}: fit: {error} ({farthest})") from error


def far_label(labels: NDArray[np.float64], scale: Scale, name: str, part: str) -> float | None:
    """The label farthest from fit's mean, with a warning, where it lies more than `FAR` away.

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
    if away <= FAR:
        return None
    rules = {"fit": "the loss", "selection": "what is picked"}.get(part, "the scores")
    far = f"more than {FAR} standard deviations from the mean of fit"
    caution(f"{name}: label {farthest:g} of {part} is {far}, {spread}: it rules {rules}")
    return farthest
