"""The Fisher estimators: of which gradients the squares add up to the diagonal (design §6).

With f the logits, p = softmax(f), J_c = ∇f_c and e_y the one-hot label, for one example x:

    ∇ log p(y|x) = Σ_c (e_y − p)_c J_c                        (1)
    empirical diagonal  (∇ log p(y_observed|x))²              (2)
    exact diagonal      Σ_k p_k (∇ log p(k|x))²               (3)
    sampled diagonal    (∇ log p(k|x))²,  k ~ p(·|x)          (4)

e_y − p sums to zero, so with Q (C, C − 1) an orthonormal basis of the vectors that do, (1) is
Σ_k (Qᵀ(e_y − p))_k ∇(Qᵀf)_k: C − 1 backward passes give every class's gradient, not C. They are
needed for kernels alone. Without, (2) and (4) take the gradient of (e_y − p)·f, one pass each,
and (3) those of the C − 1 columns of a factor of Cov(e_k) = diag(p) − ppᵀ, see `exact_terms`.

A regression has one logit and unit variance: log p(y|x) = −½ (y − f)², so Q = 1, (1) is (y − f) J,
the exact diagonal is J², and a sample has y − f ~ N(0, 1). All sums are float64.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from fishpal.common.kinds import Estimator
from fishpal.records.grams import contrasts

Term = tuple[Tensor, Tensor | None]
"""A vector v (B, C), and what the square of ∇(v·f) weighs in the diagonal (B); None: nothing."""


@dataclass(frozen=True)
class Scores:
    """∂ log p / ∂f of one batch, (B, C) each: at the observed and at the drawn labels."""

    logits: Tensor
    labels: Tensor
    observed: Tensor
    sampled: Tensor

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor, uniform: Tensor) -> Self:
        """From logits (B, C), labels (B) and uniform numbers (B), one a drawn label."""
        drawn = sampled_vector(logits, uniform, labels.is_floating_point())
        return cls(logits, labels, score_vector(logits, labels), drawn)

    def terms(self, estimator: Estimator) -> list[Term]:
        """What the estimator's diagonal adds up; the first is ∂ log p / ∂f at observed labels."""
        every = torch.ones_like(self.logits[:, 0])
        if estimator == Estimator.EMPIRICAL:
            return [(self.observed, every)]
        if estimator == Estimator.SAMPLED:
            return [(self.observed, None), (self.sampled, every)]
        if self.labels.is_floating_point():
            return [(self.observed, None), (torch.ones_like(self.logits), every)]
        return exact_terms(self.logits, self.labels)

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


def exact_terms(logits: Tensor, labels: Tensor) -> list[Term]:
    """C − 1 terms of (3), from logits (B, C) and class indices (B).

    Tanabe & Sagae (1992) factor diag(p) − ppᵀ = Σ_j w_j c_j c_jᵀ in closed form: with tails
    q_j = Σ_{i>j} p_i, c_j = e_j − Σ_{i>j} (p_i / q_j) e_i and w_j = p_j q_j / (p_j + q_j). The
    classes may stand in any order; with the observed one first, e_y − p = q_0 c_0.
    """
    p = logits.double().softmax(dim=-1)
    classes = torch.arange(p.shape[-1], device=p.device)
    order = (classes != labels.unsqueeze(-1)).to(torch.int8).argsort(dim=-1, stable=True)
    p = p.gather(1, order)
    tails = p.flip(1).cumsum(dim=1).flip(1)  # p_j + q_j
    terms: list[Term] = []
    for j in range(p.shape[-1] - 1):
        q = tails[:, j + 1]
        shares = (p[:, j + 1 :] / q.unsqueeze(-1)).nan_to_num()  # 0 / 0 where the rest vanishes
        column = torch.zeros_like(p)
        column[:, j], column[:, j + 1 :] = 1.0, -shares
        weight = (p[:, j] * q / tails[:, j]).nan_to_num()
        if j == 0:  # the gradient of log p itself, q_0 c_0
            column, weight = column * q.unsqueeze(-1), (p[:, 0] / q).nan_to_num(posinf=0.0)
        terms.append((torch.zeros_like(p).scatter(1, order, column).to(logits), weight))
    return terms
