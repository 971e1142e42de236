"""A training that has collapsed: its model answers every example alike, and no gradient leads out.

So a rate that is too high ends, most often within the first updates: a module's output outgrows the
encoder's, and the layer norms above it pass the same vector on whatever the text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fishpal.records.pilot import has_learnt

SHARE = 1 / 3  # of the modules' rates, after a collapse: about a step of usual sweeps
# Of the start's spread. What had collapsed had 0 to 0.2 of it, what learnt, were it slowly, 2 and
# more, and what learnt shuffled labels 0.46 and more (all-MiniLM-L6-v2, reports/rates.md).
LITTLE = 0.2


@dataclass
class Collapse:
    """Tells a collapsed model from one that has not learnt yet, whose answers differ more and more.

    Attributes:
        start: the untrained model's spread on the selection part.
    """

    start: float | None = None

    def seen(
        self,
        logits: NDArray[np.floating[Any]],
        labels: Sequence[int] | Sequence[float],
        loss: float,
    ) -> bool:
        """Whether logits (n, C) of this loss are a collapsed model's; the start's come first."""
        found = spread(logits)
        if self.start is None:
            self.start = found
        learnt = has_learnt(loss, least_constant(labels, logits.shape[1]))
        return found < LITTLE * self.start and not learnt


def spread(logits: NDArray[np.floating[Any]]) -> float:
    """Standard deviation over examples, in the mean over outputs; of classes, of their logits less
    the example's mean, which no probability depends on."""
    if logits.shape[1] > 1:
        logits = logits - logits.mean(axis=1, keepdims=True)
    return float(logits.std(axis=0).mean())


def least_constant(labels: Sequence[int] | Sequence[float], outputs: int) -> float:
    """The lowest loss of one answer to all of these labels: what calibration alone can reach."""
    if outputs == 1:
        return float(0.5 * np.var(labels))
    from scipy.special import entr  # here: slow to import

    return float(entr(np.bincount(np.asarray(labels, int)) / len(labels)).sum())
