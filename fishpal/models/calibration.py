"""How far a model is from what its outputs could say: refine, then calibrate.

Training on goes past the lowest loss to higher accuracy while confidence outgrows it: a checkpoint
of the lowest selection loss is a compromise. So checkpoints are compared by their loss after the
best calibration, and the one that is kept is calibrated (Berta, Holzmüller, Jordan & Bach 2025,
"Rethinking early stopping: refine, then calibrate").
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fishpal.common.validate import Strict
from fishpal.models.predict import mean_loss

LINE_ROWS = 20  # that a line needs: ten for each of its two numbers, the usual rule of thumb
STEEPEST = 6.0  # |log| of a temperature: past it, logits are as good as equal, or as certain
FLATTEST = 1e-3  # slope of a regression's line: the loss is a constant's, and the order stays


@dataclass(frozen=True)
class Calibration(Strict):
    """Logits z become `scale` · z + `shift`; `loss` is their mean loss then."""

    scale: float = 1.0
    shift: float = 0.0
    loss: float = math.inf

    def apply(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Calibrated logits."""
        return self.scale * logits.astype(np.float64) + self.shift

    @torch.no_grad()
    def fold(self, head: nn.Linear) -> None:
        """Make a linear head give calibrated logits itself."""
        head.weight.mul_(self.scale)
        head.bias.mul_(self.scale).add_(self.shift)


def calibrate(logits: NDArray[np.float32], labels: Sequence[int] | Sequence[float]) -> Calibration:
    """The best temperature of classes (Guo et al. 2017, §4.2), the best line of a regression.

    The temperature is fitted to the rule of succession (Laplace 1814) instead of certainty: after
    n of n right answers the next one is right with probability (n + 1) / (n + 2). That keeps it
    finite where the classes separate. (Platt's targets, 1999, are this by the rows of each class,
    for a line of two numbers; one temperature has all rows. By its own four rows a class of twenty
    would be right with probability 0.2.) Two rows always have a line, and few one that is noise:
    below `LINE_ROWS` a regression stays as it is. Neither changes the order of the answers: no
    temperature is infinite, and no line flatter than `FLATTEST`.

    Args:
        logits: (n, C), or (n, 1) of a regression.
        labels: (n) class indices, or standardised numbers.
    """
    if np.asarray(labels).dtype.kind == "f":
        if len(labels) < LINE_ROWS:
            return Calibration(loss=mean_loss(logits, labels))
        scale, shift = _line(logits[:, 0].astype(np.float64), np.asarray(labels))
    else:
        scale, shift = _inverse_temperature(logits.astype(np.float64), np.asarray(labels)), 0.0
    found = Calibration(scale, shift)
    return replace(found, loss=mean_loss(found.apply(logits), labels))


def _line(outputs: NDArray[np.float64], labels: NDArray[np.float64]) -> tuple[float, float]:
    """Slope, at least `FLATTEST`, and intercept of the least squares."""
    centred = outputs - outputs.mean()
    spread = float(centred @ centred)
    scale = max(float(centred @ labels) / spread if spread > 0 else 0.0, FLATTEST)
    return scale, float(labels.mean() - scale * outputs.mean())


def _inverse_temperature(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Where the slope of the smoothed cross-entropy, convex in 1 / T, is 0."""
    from scipy.optimize import brentq  # here: slow to import
    from scipy.special import softmax

    n, classes = logits.shape
    targets = np.full((n, classes), 1 / ((n + 2) * (classes - 1)))
    targets[np.arange(n), labels] = (n + 1) / (n + 2)

    def slope(log_scale: float) -> float:
        excess = softmax(np.exp(log_scale) * logits, axis=1) - targets
        return float((excess * logits).sum() / n)

    low, high = slope(-STEEPEST), slope(STEEPEST)
    if low >= 0 or high <= 0:  # worse than chance, or more certain than all
        return float(np.exp(-STEEPEST if low >= 0 else STEEPEST))
    return float(np.exp(brentq(slope, -STEEPEST, STEEPEST)))
