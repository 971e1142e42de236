"""From per-example gradients to a candidate's row, whose sums are float64."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from fishpal.common.choices import Module
from fishpal.common.errors import PlanError
from fishpal.common.files import rounded
from fishpal.fisher.estimators import Term
from fishpal.fisher.gradients import Gradients
from fishpal.modules import CandidateModule
from fishpal.records.fisher_table import CandidateRow

ROWS_AT_ONCE = 32  # a batch of gradients: what the passes hold in memory anyway


def combine(jacobian: Sequence[Tensor], vector: Tensor) -> Tensor:
    """Σ_k v_k J_k for v (B, K) and K tensors (B, …)."""
    total = torch.zeros_like(jacobian[0])
    for weights, part in zip(vector.to(total.dtype).T, jacobian, strict=True):
        total += weights.reshape(-1, *(1,) * (part.dim() - 1)) * part  # (B) → (B, 1, …)
    return total


class Accumulator:
    """Running sums of one candidate over batches.

    Attributes:
        squares: tensor's name → Σ_x Σ_i of the estimator's diagonal, a float64 scalar.
        sums: tensor's name → Σ_x ∇ log p(y_observed|x) over either half of the examples,
            float64, (2, …).
        projections: (n) float64 on the CPU; see `records.grams.Grams`.
        rows: (n, K, P) of `dtype` on the CPU, ∇(Qᵀf)_k(x) flattened; None: no kernels wanted.
    """

    def __init__(
        self,
        module: CandidateModule,
        examples: int,
        kernel_shape: tuple[int, int] | None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        kept = {name: tensor.detach() for name, tensor in module.kept().items()}
        self.layer, self.module = module.layer, Module(module.kind, module.size)
        self.sizes = {name: tensor.numel() for name, tensor in kept.items()}
        device = next(iter(kept.values())).device
        self.squares = {k: torch.zeros((), dtype=torch.float64, device=device) for k in kept}
        double = torch.float64
        self.sums = {
            k: torch.zeros((2, *t.shape), dtype=double, device=device) for k, t in kept.items()
        }
        self.projections = torch.zeros(examples, dtype=double)
        self.rows: Tensor | None = None
        if kernel_shape is not None:
            self.rows = torch.zeros(*kernel_shape, sum(self.sizes.values()), dtype=dtype)

    def add_square(self, name: str, gradient: Tensor, weight: Tensor) -> None:
        """Add Σ_x w_x ‖g_x‖² for gradients (B, …) and weights (B)."""
        norms = torch.linalg.vector_norm(gradient.flatten(1), dim=1, dtype=torch.float64).square()
        self.squares[name] += (norms * weight).sum()

    def add_observed(self, name: str, gradient: Tensor, half: Tensor) -> None:
        """Add Σ_x g_x for gradients (B, …) at the observed labels of examples in `half` (B)."""
        for number in (0, 1):
            self.sums[name][number] += gradient[half == number].sum(dim=0, dtype=torch.float64)

    def signs(self) -> Tensor:
        """Signs of the mean gradient over half 0 and half 1, (2, P)."""
        return torch.cat([total.flatten(1) for total in self.sums.values()], dim=1).sign()

    def add_projections(
        self, index: Tensor, gradients: Tensor, half: Tensor, signs: Tensor
    ) -> None:
        """Set the projections of the examples at `index` from their gradients (B, P)."""
        on = (gradients @ signs.to(gradients).T).double().cpu()
        self.projections[index] = on[torch.arange(len(index)), 1 - half]  # on the other's sign

    def project_rows(self, scores: Tensor, half: Tensor) -> None:
        """All projections from the kept rows and ∂ log p / ∂(Qᵀf) (n, K)."""
        assert self.rows is not None
        every, signs = torch.arange(len(half)), self.signs().to(self.rows)
        for part in every.split(ROWS_AT_ONCE):
            observed = torch.einsum("nk,nkp->np", scores[part].to(self.rows), self.rows[part])
            self.add_projections(part, observed, half[part], signs)

    def add_rows(self, index: Tensor, jacobian: Sequence[Gradients], position: int) -> None:
        """Keep ∇(Qᵀf)_k for the examples at `index` of the sample."""
        assert self.rows is not None
        for c, gradients in enumerate(jacobian):
            parts = [gradients[position][name].flatten(1) for name in self.sizes]
            self.rows[index, c] = torch.cat(parts, dim=1).to(self.rows.dtype).cpu()

    def row(self, examples: int) -> CandidateRow:
        """The candidate's statistics over all `examples`."""
        traces = {name: rounded(value.item() / examples) for name, value in self.squares.items()}
        means = [total.sum(0) / examples for total in self.sums.values()]
        parameters = sum(self.sizes.values())
        trace = sum(value.item() for value in self.squares.values()) / examples
        if not math.isfinite(trace):
            allowed = "finite numbers (finite weights in the encoder, fisher.precision float32)"
            where = f"layer {self.layer}, {self.module}"
            raise PlanError(f"{where}: the trace is {trace}; allowed: {allowed}")
        return CandidateRow(
            layer=self.layer,
            kind=self.module.kind,
            size=self.module.size,
            parameters=parameters,
            trace=rounded(trace),
            mean=rounded(trace / parameters),
            gradient_l1=rounded(sum(mean.abs().sum().item() for mean in means)),
            gradient_sq_l2=rounded(sum(mean.square().sum().item() for mean in means)),
            tensor_traces=traces,
            tensor_parameters=dict(self.sizes),
        )

    def gram(self) -> Tensor:
        """Inner products of all rows, (n·K, n·K)."""
        assert self.rows is not None
        flat = self.rows.flatten(0, 1)
        return flat @ flat.T


def combined(jacobian: Sequence[Gradients], vectors: Sequence[Tensor]) -> Iterator[Gradients]:
    """For each v (B, K) the gradients of Σ_k v_k (Qᵀf)_k, from those of the K contrasts."""
    for vector in vectors:
        yield [
            {name: combine([gradients[name] for gradients in parts], vector) for name in parts[0]}
            for parts in zip(*jacobian, strict=True)
        ]


def accumulate(
    accumulators: Sequence[Accumulator],
    passes: Iterator[Gradients],
    terms: Sequence[Term],
    half: Tensor,
) -> None:
    """Add one batch, given every module's gradients (B, …) of each term in turn."""
    for number, ((_, weight), gradients) in enumerate(zip(terms, passes, strict=True)):
        for accumulator, tensors in zip(accumulators, gradients, strict=True):
            for name, gradient in tensors.items():
                if number == 0:
                    accumulator.add_observed(name, gradient, half)
                if weight is not None:
                    accumulator.add_square(name, gradient, weight)


def project_head(features: Tensor, scores: Tensor, half: Tensor) -> Tensor:
    """Projections (n) of a linear head's gradients, from features (n, d) and ∂ log p / ∂f.

    The gradient of one example is ∂ log p / ∂f ⊗ (h, 1), the 1 being the bias's.
    """
    inputs = torch.cat([features, torch.ones(len(features), 1)], dim=1).double()
    scores = scores.double()
    signs = torch.stack([scores[half == n].T @ inputs[half == n] for n in (0, 1)]).sign()
    on = torch.einsum("nc,nd,scd->ns", scores, inputs, signs)  # signs: (2, C, d + 1)
    return on[torch.arange(len(half)), 1 - half]
