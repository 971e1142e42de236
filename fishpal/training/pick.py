"""Which look's weights a training keeps, and after how many in vain it ends."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fishpal.records.results import CurvePoint


@dataclass
class Pick:
    """The latest look that is not shown to be worse than the best one, or the best one.

    A look is kept where its mean is at most one standard error above the lowest so far, example by
    example (the rule of Breiman et al. 1984, §3.4.3, here for the most trained instead of the
    smallest). The lowest of many noisy means is lucky, and its weights were still moving; the last
    look's have come to rest.

    Attributes:
        latest: else the first of the lowest alone is kept.
        lowest: (n) losses on the selection part of the look of the lowest mean.
    """

    latest: bool
    lowest: NDArray[np.float64] | None = None

    def keeps(self, losses: NDArray[np.float64]) -> bool:
        """Whether a look's weights replace those that were kept before it."""
        if self.lowest is None or losses.mean() < self.lowest.mean():
            self.lowest = losses
            return True
        if not self.latest or len(losses) == 1:
            return False
        more = losses - self.lowest
        return bool(more.mean() <= more.std(ddof=1) / math.sqrt(len(more)))


def stale(curve: Sequence[CurvePoint], patience: int | None) -> bool:
    """The last `patience` looks, since it has collapsed if it has, brought nothing better."""
    if patience is None:
        return False
    best = min(range(len(curve)), key=lambda n: (curve[n].collapsed, curve[n].pick_loss))
    since = max([best, *(n for n, point in enumerate(curve) if point.collapsed)])
    return len(curve) - 1 - since >= patience
