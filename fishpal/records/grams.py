"""Per-example kernels of the candidates: what the kernel criterion needs beyond the table."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from fishpal.common.files import reading, replacing
from fishpal.common.kinds import ModuleKind

Candidate = tuple[int, ModuleKind]


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
    """Starting point and kernels of n examples with C logits each.

    Attributes:
        logits: (n, C) at the start.
        labels: (n), class indices (integers) or targets of a regression (floats).
        kernels: candidate → (n·K, n·K), float32, K = C − 1 contrasts Qᵀf of the logits (softmax
            sees nothing else of them; Q as in `contrasts`) or the one logit of a regression.
            Entry (x·K + k, x'·K + k') is the inner product of ∇(Qᵀf)_k(x) and ∇(Qᵀf)_k'(x')
            over the candidate's parameters. Empty where the table was measured without them.
    """

    logits: NDArray[np.float32]
    labels: NDArray[np.generic]
    kernels: dict[Candidate, NDArray[np.float32]] = field(default_factory=dict)

    def save(self, path: str | Path) -> None:
        arrays = {"logits": self.logits, "labels": self.labels}
        arrays |= {f"{kind}.{layer}": gram for (layer, kind), gram in self.kernels.items()}
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
            kernels = {}
            for name, gram in arrays.items():
                kind, layer = name.split(".")
                if gram.shape != (size, size):
                    raise ValueError(f"{name} is {gram.shape}; allowed: ({size}, {size})")
                if gram.dtype != np.float32 or not np.isfinite(gram).all():
                    raise ValueError(f"{name} is {gram.dtype}; allowed: finite numbers of float32")
                kernels[int(layer), ModuleKind(kind)] = gram
        return cls(logits, labels, kernels)
