"""The kernel criterion: simulate training a plan in function space (design §6).

Linearised in the parameters, a model trains by gradient descent as its kernel says (Jacot et al.
2018): the outputs a = Qᵀf of all examples move by −η K ∂L/∂a. Kernels of disjoint modules add, so
a plan's kernel is the sum of its candidates'. Each candidate's is divided by its mean diagonal
first: the size and scale of a kind drop out, and only the directions that it opens count.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fishpal.common.choices import Choice, Choices, names_of
from fishpal.records.grams import Grams, contrasts

Array = NDArray[np.float64]

HELD_OUT = 3  # every third example is held out
# With the rate below, a component of eigenvalue λ has decayed by about e^(−STEPS · λ / λ_max):
# 100 steps learn the components down to a hundredth of the largest one, the rest stay.
STEPS = 100


class KernelScorer:
    """Scores whole plans, of at most `per_layer` modules at one of `layers`; the same plan always
    gets the same score."""

    def __init__(self, grams: Grams, layers: int, per_layer: int = 1) -> None:
        self.layers, self.per_layer = layers, per_layer
        self.basis = contrasts(grams.logits.shape[1])
        held = np.arange(len(grams.logits)) % HELD_OUT == HELD_OUT - 1
        order = np.argsort(held, kind="stable")  # those that train first
        self.logits, self.labels = grams.logits[order].astype(np.float64), grams.labels[order]
        self.cut = int((~held).sum())
        contrast = self.basis.shape[1]
        rows = (order[:, None] * contrast + np.arange(contrast)).ravel()
        columns = rows[: self.cut * contrast]
        self.blocks = {
            key: _normalised(gram)[np.ix_(rows, columns)] for key, gram in grams.kernels.items()
        }
        self.rate = self._rate(len(columns))
        self._known: dict[Choices, float] = {}

    def total(self, layers: Sequence[Choice]) -> float:
        """Minus the mean held-out loss (nats) of the best step of the simulated training.

        An empty plan's is that of not training at all.
        """
        key = tuple(layers)
        if key not in self._known:
            self._known[key] = self._simulate(key)
        return self._known[key]

    def _rate(self, size: int) -> float:
        """η = 2 / Σ λ_max(K_l,candidate) over each layer's `per_layer` largest, for every plan.

        Stable for all of them: λ_max of a sum is at most the sum, and the softmax loss has
        curvature of at most ½ (a square loss 1) in the outputs, where gradient descent needs
        η < 2 / (curvature · λ_max).
        """
        found: list[list[float]] = [[] for _ in range(self.layers)]
        for (layer, _), block in self.blocks.items():
            found[layer].append(max(0.0, float(np.linalg.eigvalsh(block[:size])[-1])))
        largest = np.array([sum(sorted(each)[-self.per_layer :]) for each in found])
        curvature = 1.0 if self.logits.shape[1] == 1 else 0.5
        return 1.0 / (curvature * max(float(largest.sum()), np.finfo(float).tiny))

    def _simulate(self, layers: Choices) -> float:
        chosen = names_of(layers)
        start, labels, cut = self.logits, self.labels, self.cut
        best = _loss(start[cut:], labels[cut:])
        if not chosen:
            return -best
        kernel = np.sum([self.blocks[key] for key in chosen], axis=0)
        logits = start
        moved = np.zeros(kernel.shape[0])
        for _ in range(STEPS):
            slope = _slope(logits[:cut], labels[:cut]) @ self.basis
            moved = moved - self.rate * (kernel @ slope.ravel())
            logits = start + moved.reshape(len(start), -1) @ self.basis.T
            best = min(best, _loss(logits[cut:], labels[cut:]))
        return -best


def _normalised(gram: NDArray[np.float32]) -> Array:
    """A kernel over its mean diagonal; one without any gradient stays zero."""
    wide = gram.astype(np.float64)
    scale = np.trace(wide) / len(wide)
    return wide / scale if scale > 0 else wide


def _slope(logits: Array, labels: NDArray[np.generic]) -> Array:
    """∂ loss / ∂ logits (n, C): p − e_y, or f − y for a regression."""
    if logits.shape[1] == 1:
        return logits - labels.astype(np.float64)[:, None]
    slope = np.exp(_log_softmax(logits))
    slope[np.arange(len(labels)), labels.astype(np.int64)] -= 1.0
    return slope


def _loss(logits: Array, labels: NDArray[np.generic]) -> float:
    """Mean cross-entropy in nats, or mean ½ (f − y)²."""
    if logits.shape[1] == 1:
        return float(0.5 * np.mean((logits[:, 0] - labels.astype(np.float64)) ** 2))
    picked = _log_softmax(logits)[np.arange(len(labels)), labels.astype(np.int64)]
    return float(-picked.mean())


def _log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
