"""Does a score computed before training rank plans as training does? The statistics of it.

Throughout, `results` is (P, S): P plans trained with S seeds each, **higher is better** (minus the
loss, or accuracy), and `scores` is (P,): what a criterion says of the same plans.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from fishpal.common.errors import DataError
from fishpal.common.kinds import ModuleKind

Array = NDArray[np.float64]
Layers = Sequence[ModuleKind | None]


@dataclass(frozen=True)
class Variance:
    """One-way random-effects analysis of variance (Searle, Casella & McCulloch 1992, chapter 3).

    Attributes:
        plans: variance between plans that seeds do not explain; never below 0.
        seeds: variance between seeds of one plan.
    """

    plans: float
    seeds: float

    @property
    def share(self) -> float:
        """Share of a single training's variance that the plan explains (intraclass correlation)."""
        total = self.plans + self.seeds
        return self.plans / total if total > 0 else 0.0

    def reliability(self, seeds: int) -> float:
        """Share of variance that plans explain in means over so many seeds (Spearman-Brown).

        The square root of it is the highest correlation with such means that even the plans' true
        worth could reach.
        """
        total = self.plans + self.seeds / seeds
        return self.plans / total if total > 0 else 0.0


def variance(results: Array) -> Variance:
    """Split the variance of `results` into plans and seeds.

    Raises:
        DataError: for fewer than two plans or seeds.
    """
    plans, seeds = _shape(results)
    if plans < 2 or seeds < 2:
        raise DataError(f"results have shape {results.shape}; allowed: 2 plans and 2 seeds or more")
    within = float(results.var(axis=1, ddof=1).mean())
    between = float(results.mean(axis=1).var(ddof=1))  # of means: plans + seeds / S
    return Variance(max(between - within / seeds, 0.0), within)


@dataclass(frozen=True)
class Agreement:
    """Rank correlations of scores with mean results; 0 where either is constant."""

    spearman: float
    kendall: float


def agreement(scores: Sequence[float] | Array, results: Array) -> Agreement:
    """Spearman's ρ and Kendall's τ_b of the scores with the plans' mean results.

    Raises:
        DataError: where the numbers of plans differ.
    """
    from scipy.stats import kendalltau, spearmanr

    plans, _ = _shape(results)
    given = np.asarray(scores, dtype=np.float64)
    if given.shape != (plans,):
        raise DataError(f"scores have shape {given.shape}; allowed: ({plans},), one a plan")
    means = results.mean(axis=1)
    if np.ptp(given) == 0 or np.ptp(means) == 0:
        return Agreement(0.0, 0.0)
    rho, tau = spearmanr(given, means).statistic, kendalltau(given, means).statistic
    return Agreement(float(rho), float(tau))


def regret(chosen: int, results: Array) -> float:
    """Best mean result of all plans minus the chosen plan's; never below 0."""
    _shape(results)
    means = results.mean(axis=1)
    return float(means.max() - means[chosen])


def noise_floor(results: Array) -> float:
    """Mean regret of picking the best plan by one seed, judged by the other seeds.

    What a rival gets who trains every plan once: no criterion can be expected to do better than
    about this. 0 with one seed, which cannot tell.
    """
    _, seeds = _shape(results)
    if seeds < 2:
        return 0.0
    found = []
    for seed in range(seeds):
        others = np.delete(results, seed, axis=1)
        found.append(regret(int(results[:, seed].argmax()), others))
    return float(np.mean(found))


def percentile(value: float, others: Sequence[float] | Array) -> float:
    """Share of `others` below `value`, equal ones counted half, in percent."""
    given = np.asarray(others, dtype=np.float64)
    if given.size == 0:
        raise DataError("others is empty; allowed: one value or more")
    return float(100 * np.mean((given < value) + 0.5 * (given == value)))


def stability(plans: Sequence[Layers]) -> float:
    """Mean share of layers with the same choice, over all pairs of plans; 1 for a single plan.

    Three kinds chosen at random agree in a third of the layers.
    """
    pairs = [
        np.mean([a == b for a, b in zip(first, second, strict=True)])
        for first, second in combinations(plans, 2)
    ]
    return float(np.mean(pairs)) if pairs else 1.0


def ranks(values: Sequence[float] | Array) -> Array:
    """Ranks scaled to [0, 1], ties sharing their mean: makes scores of other units comparable."""
    from scipy.stats import rankdata

    given = np.asarray(values, dtype=np.float64)
    if given.size < 2:
        return np.full(given.shape, 0.5)
    result: Array = (rankdata(given) - 1) / (given.size - 1)
    return result


def _shape(results: Array) -> tuple[int, int]:
    if results.ndim != 2 or results.size == 0 or not np.isfinite(results).all():
        raise DataError(f"results have shape {results.shape}; allowed: finite (plans, seeds)")
    return int(results.shape[0]), int(results.shape[1])
