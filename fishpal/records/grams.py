"""What criteria and rates need beyond the table: kernels and projections, example by example."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from fishpal.common.choices import Module
from fishpal.common.files import reading, replacing

Candidate = tuple[int, str]
"""A layer, and the word of one module (`common.choices`)."""
PROJECTION = "projection."  # before the candidate's name in the file


def contrasts(outputs: int) -> NDArray[np.float64]:
    """Q: orthonormal columns (C, C − 1) that each sum to zero (Helmert); (1, 1) for C = 1."""
    if outputs == 1:
        return np.ones((1, 1))
    basis = np.zeros((outputs, outputs - 1))
    for k in range(1, outputs):
        basis[:k, k - 1] = 1.0
        basis[k, k - 1] = -k
        basis[:, k - 1] /= np.sqrt(k * (k + 1))
    return basis


@dataclass(frozen=True)
class Grams:
    """Starting point, kernels and projections of n examples with C logits each.

    Attributes:
        logits: (n, C) at the start.
        labels: (n), class indices (integers) or targets of a regression (floats).
        kernels: candidate → (n·K, n·K), float32, K = C − 1 contrasts Qᵀf of the logits (softmax
            sees nothing else of them; Q as in `contrasts`) or the one logit of a regression.
            Entry (x·K + k, x'·K + k') is the inner product of ∇(Qᵀf)_k(x) and ∇(Qᵀf)_k'(x')
            over the candidate's parameters. Empty where the table was measured without them.
        projections: candidate → (n), float64: g · sign(ḡ), with g the example's gradient of
            log p(y|x) and ḡ the mean over the half of the examples that this one is not in, so
            that noise does not project on itself.
        head: the same of the head.
        full: the same of all of the encoder's weights, where `fisher.full` asked for it.
    """

    logits: NDArray[np.float32]
    labels: NDArray[np.generic]
    kernels: dict[Candidate, NDArray[np.float32]] = field(default_factory=dict)
    projections: dict[Candidate, NDArray[np.float64]] = field(default_factory=dict)
    head: NDArray[np.float64] | None = None
    full: NDArray[np.float64] | None = None

    def save(self, path: str | Path) -> None:
        arrays = {"logits": self.logits, "labels": self.labels}
        whole = {"head": self.head, "full": self.full}
        arrays |= {name: values for name, values in whole.items() if values is not None}
        for (layer, word), values in self.projections.items():
            arrays[f"{PROJECTION}{word}.{layer}"] = values
        arrays |= {f"{word}.{layer}": gram for (layer, word), gram in self.kernels.items()}
        with replacing(path) as draft:
            save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, draft)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read kernels; `PlanError` names a file that is missing or not such a file."""
        with reading(path, "a file of kernels", OSError, SafetensorError, KeyError, ValueError):
            arrays = load_file(path)
            logits, labels = arrays.pop("logits"), arrays.pop("labels")
            if logits.ndim != 2 or labels.shape != logits.shape[:1]:
                raise ValueError(f"logits {logits.shape} and labels {labels.shape} do not match")
            size = len(logits) * max(logits.shape[1] - 1, 1)
            whole = {name: arrays.pop(name, None) for name in ("head", "full")}
            for name, values in whole.items():
                if values is not None:
                    _check(name, values, (len(logits),), np.float64)
            kernels, projections = {}, {}
            for name, values in arrays.items():
                word, layer = name.removeprefix(PROJECTION).split(".")
                key = int(layer), str(Module.parse(word))
                if name.startswith(PROJECTION):
                    _check(name, values, (len(logits),), np.float64)
                    projections[key] = values
                else:
                    _check(name, values, (size, size), np.float32)
                    kernels[key] = values
        return cls(logits, labels, kernels, projections, **whole)


def _check(name: str, values: NDArray[Any], shape: tuple[int, ...], dtype: type) -> None:
    if values.shape != shape:
        raise ValueError(f"{name} is {values.shape}; allowed: {shape}")
    if values.dtype != dtype or not np.isfinite(values).all():
        raise ValueError(f"{name} is {values.dtype}; allowed: finite numbers of {dtype.__name__}")
