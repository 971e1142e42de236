"""From per-example gradients to a candidate's row: the Fisher estimators (design §6).

With f the logits, p = softmax(f), J_c = ∇f_c and e_y the one-hot label, for one example x:

    ∇ log p(y|x) = Σ_c (e_y − p)_c J_c                        (1)
    empirical diagonal  (∇ log p(y_observed|x))²              (2)
    exact diagonal      Σ_k p_k (∇ log p(k|x))²               (3)
    sampled diagonal    (∇ log p(k|x))²,  k ~ p(·|x)          (4)

e_y − p sums to zero, so with Q (C, C − 1) an orthonormal basis of the vectors that do, (1) is
Σ_k (Qᵀ(e_y − p))_k ∇(Qᵀf)_k: C − 1 backward passes give every class's gradient, not C.

A regression has one logit and unit variance: log p(y|x) = −½ (y − f)², so Q = 1, (1) is (y − f) J,
the exact diagonal is J², and a sample has y − f ~ N(0, 1). All sums are float64.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from fishpal.common.choices import Module
from fishpal.common.errors import PlanError
from fishpal.common.files import rounded
from fishpal.common.kinds import Estimator
from fishpal.fisher.gradients import Gradients
from fishpal.modules import CandidateModule
from fishpal.records.fisher_table import CandidateRow
from fishpal.records.grams import contrasts

ROWS_AT_ONCE = 32  # a batch of gradients: what the passes hold in memory anyway


@dataclass(frozen=True)
class Scores:
    """∂ log p / ∂f of one batch, (B, C) each: at the observed and at the drawn labels."""

    logits: Tensor
    observed: Tensor
    sampled: Tensor

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor, uniform: Tensor) -> Self:
        """From logits (B, C), labels (B) and uniform numbers (B), one a drawn label."""
        drawn = sampled_vector(logits, uniform, labels.is_floating_point())
        return cls(logits, score_vector(logits, labels), drawn)

    @property
    def basis(self) -> Tensor:
        """Q (C, K), in the type and on the device of the logits."""
        return torch.from_numpy(contrasts(self.logits.shape[-1])).to(self.logits)


def score_vector(logits: Tensor, labels: Tensor) -> Tensor:
    """∂ log p(y|x) / ∂f, (B, C): e_y − p, or y − f for a regression."""
    if labels.is_floating_point():
        return labels.to(logits.dtype).unsqueeze(-1) - logits
    one_hot = torch.nn.functional.one_hot(labels, logits.shape[-1])
    return one_hot.to(logits.dtype) - logits.softmax(dim=-1)


def sampled_vector(logits: Tensor, uniform: Tensor, regression: bool) -> Tensor:
    """`score_vector` at a label drawn from the model by inverse transform of `uniform` (B)."""
    if regression:
        normal = torch.special.ndtri(uniform.double()).to(logits.dtype)
        return normal.unsqueeze(-1)
    cumulative = logits.double().softmax(dim=-1).cumsum(dim=-1)
    drawn = (uniform.unsqueeze(-1) > cumulative).sum(dim=-1).clamp(max=logits.shape[-1] - 1)
    return score_vector(logits, drawn)


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
        projections: (2, n) float64 on the CPU; see `records.grams.Grams`.
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
        self.projections = torch.zeros((2, examples), dtype=double)
        self.rows: Tensor | None = None
        if kernel_shape is not None:
            self.rows = torch.zeros(*kernel_shape, sum(self.sizes.values()), dtype=dtype)

    def add_square(self, name: str, gradient: Tensor, weight: Tensor | None = None) -> None:
        """Add Σ_x w_x ‖g_x‖² for gradients (B, …) and weights (B), by default 1."""
        norms = torch.linalg.vector_norm(gradient.flatten(1), dim=1, dtype=torch.float64).square()
        self.squares[name] += (norms if weight is None else norms * weight).sum()

    def add_observed(self, name: str, gradient: Tensor, half: Tensor) -> None:
        """Add Σ_x g_x for gradients (B, …) at the observed labels of examples in `half` (B)."""
        for number in (0, 1):
            self.sums[name][number] += gradient[half == number].sum(dim=0, dtype=torch.float64)

    def signs(self) -> Tensor:
        """Signs of the mean gradient over all examples, half 0 and half 1, (3, P)."""
        sums = torch.cat([total.flatten(1) for total in self.sums.values()], dim=1)
        return torch.cat([sums.sum(0, keepdim=True), sums]).sign()

    def add_projections(
        self, index: Tensor, gradients: Tensor, half: Tensor, signs: Tensor
    ) -> None:
        """Set the projections of the examples at `index` from their gradients (B, P)."""
        on = (gradients @ signs.to(gradients).T).double().cpu()
        self.projections[0, index] = on[:, 0]
        self.projections[1, index] = on[torch.arange(len(index)), 2 - half]  # on the other's sign

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


def accumulate_scores(
    accumulators: Sequence[Accumulator],
    passes: Iterator[Gradients],
    estimator: Estimator,
    half: Tensor,
) -> None:
    """Add one batch of ∇ log p: at the observed labels, then, for `sampled`, at the drawn ones."""
    observed = next(passes)
    for accumulator, tensors in zip(accumulators, observed, strict=True):
        for name, gradient in tensors.items():
            accumulator.add_observed(name, gradient, half)
    squared = next(passes) if estimator == Estimator.SAMPLED else observed
    for accumulator, tensors in zip(accumulators, squared, strict=True):
        for name, gradient in tensors.items():
            accumulator.add_square(name, gradient)


def accumulate_jacobian(
    accumulators: Sequence[Accumulator],
    jacobian: Sequence[Gradients],
    scores: Scores,
    estimator: Estimator,
    half: Tensor,
) -> None:
    """Add one batch, given every module's gradients (B, …) of each of the K contrasts."""
    basis = scores.basis
    observed_vector, sampled = scores.observed @ basis, scores.sampled @ basis
    expectation = [(w, v @ basis) for w, v in _expectation(scores.logits)]
    for position, accumulator in enumerate(accumulators):
        for name in accumulator.sizes:
            parts = [gradients[position][name] for gradients in jacobian]
            observed = combine(parts, observed_vector)
            accumulator.add_observed(name, observed, half)
            if estimator == Estimator.EMPIRICAL:
                accumulator.add_square(name, observed)
            elif estimator == Estimator.SAMPLED:
                accumulator.add_square(name, combine(parts, sampled))
            else:
                for weight, vector in expectation:
                    accumulator.add_square(name, combine(parts, vector), weight)


def _expectation(logits: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Weights p_k (B) and score vectors e_k − p (B, C) of every class; (1, 1) for one logit."""
    if logits.shape[-1] == 1:
        return [(torch.ones_like(logits[:, 0]), torch.ones_like(logits))]
    p = logits.softmax(dim=-1)
    labels = torch.arange(logits.shape[-1], device=logits.device)
    return [(p[:, k], score_vector(logits, labels[k].expand(len(p)))) for k in range(p.shape[-1])]


def project_head(features: Tensor, scores: Tensor, half: Tensor) -> Tensor:
    """Projections (2, n) of a linear head's gradients, from features (n, d) and ∂ log p / ∂f.

    The gradient of one example is ∂ log p / ∂f ⊗ (h, 1), the 1 being the bias's.
    """
    inputs = torch.cat([features, torch.ones(len(features), 1)], dim=1).double()
    scores = scores.double()
    halves = [scores[half == n].T @ inputs[half == n] for n in (0, 1)]
    signs = torch.stack([halves[0] + halves[1], *halves]).sign()  # (3, C, d + 1)
    on = torch.einsum("nc,nd,scd->ns", scores, inputs, signs)
    return torch.stack([on[:, 0], on[torch.arange(len(half)), 2 - half]])
