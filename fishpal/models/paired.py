"""Two models compared example by example."""

import math

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95


def one_sided(more: NDArray[np.float64]) -> float:
    """What Student's interval of the mean of differences takes on one side; ∞ of a single one."""
    from scipy.special import stdtrit  # here: slow to import

    if len(more) < 2:
        return math.inf
    quantile = float(stdtrit(len(more) - 1, CONFIDENCE))
    return quantile * float(more.std(ddof=1)) / math.sqrt(len(more))
