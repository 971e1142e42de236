"""From cells and signals to the study's findings, as plain rows; no text, no figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studies.criteria.analysis.agreement import (
    Agreement,
    agreement,
    noise_floor,
    percentile,
    regret,
    variance,
)
from studies.criteria.analysis.learned import blend, fit_and_score, placement
from studies.criteria.analysis.table import Trained
from studies.criteria.design.names import BASE, MIXES

Array = NDArray[np.float64]
PLACEMENT, BLEND = "placement (learnt)", "blend (learnt)"


@dataclass(frozen=True)
class Case:
    """One task and size: what was trained, and what was measured before.

    Attributes:
        trained: the plans with modules; `head` is kept apart, since every criterion knows that
            no module is worse than some.
        signals: as the stage `signals` writes them.
    """

    task: str
    size: int
    trained: Trained
    head: Trained
    signals: Mapping[str, Any]

    @property
    def scores(self) -> dict[str, Array]:
        """Every criterion's scores (P,) as measured by `BASE`."""
        return self.scores_under(BASE)

    def scores_under(self, configuration: str) -> dict[str, Array]:
        """Criterion → scores (P,), in the order of `trained.plans`, under one configuration."""
        names = list(self.signals["plans"])
        order = [names.index(plan) for plan in self.trained.plans]
        found = self.signals[configuration]["scores"]
        return {name: np.array(values)[order] for name, values in found.items()}

    @property
    def mixes(self) -> list[int]:
        """The random mixes among the plans."""
        return [i for i, name in enumerate(self.trained.plans) if name.startswith(MIXES)]


def case(task: str, size: int, trained: Trained, signals: Mapping[str, Any]) -> Case:
    """Join results and signals."""
    empty = [set(word) == {"-"} for word in trained.layers]
    kept, head = np.flatnonzero(np.logical_not(empty)), np.flatnonzero(empty)
    return Case(task, size, trained.take(kept.tolist()), trained.take(head.tolist()), signals)


@dataclass(frozen=True)
class Verdict:
    """How well one score did on one case; regrets and results in the units of accuracy.

    Attributes:
        percentile: of the best-scored plan among the random mixes, by accuracy.
        chosen: index of the best-scored plan (the first of equals).
    """

    loss: Agreement
    score: Agreement
    regret: float
    percentile: float
    chosen: int


def judge(case: Case, scores: Array) -> Verdict:
    """Compare scores with what training gave."""
    trained, chosen = case.trained, int(np.argmax(scores))
    means = trained.score.mean(axis=1)
    return Verdict(
        loss=agreement(scores, trained.loss),
        score=agreement(scores, trained.score),
        regret=regret(chosen, trained.score),
        percentile=percentile(float(means[chosen]), means[case.mixes]),
        chosen=chosen,
    )


def all_scores(cases: Sequence[Case]) -> list[dict[str, Array]]:
    """Every case's scores by every criterion, the learnt ones fitted on the *other* tasks.

    At the case's own size: what ranks plans at one size need not at another.
    """
    found = []
    for case in cases:
        scores = dict(case.scores)
        others = [o for o in cases if o.task != case.task and o.size == case.size]
        if others:
            for name, make in ((PLACEMENT, _placement), (BLEND, _blend)):
                train = [(make(other), other.trained.loss.mean(axis=1)) for other in others]
                scores[name] = fit_and_score(train, make(case))
        found.append(scores)
    return found


def _placement(case: Case) -> Array:
    return placement(case.trained.layers)


def _blend(case: Case) -> Array:
    return blend(case.trained.layers, case.scores)


def leave_one_out(cases: Sequence[Case], pool: Sequence[str]) -> list[tuple[str, Verdict]]:
    """For each case the criterion of the highest median Spearman (loss) on the other tasks
    at its size.

    Returns:
        Its name, and how it did on the case that had no say in picking it.
    """
    verdicts = [{name: judge(case, case.scores[name]) for name in pool} for case in cases]
    found = []
    for case, own in zip(cases, verdicts, strict=True):
        pairs = zip(cases, verdicts, strict=True)
        others = [v for c, v in pairs if c.task != case.task and c.size == case.size]
        medians = {n: np.median([v[n].loss.spearman for v in others] or [0.0]) for n in pool}
        best = max(pool, key=lambda name: medians[name])
        found.append((best, own[best]))
    return found


@dataclass(frozen=True)
class Spread:
    """How far plans differ at all: shares of variance and the regret that seeds alone make."""

    share_loss: float
    share_score: float
    ceiling: float
    floor: float
    seed_sd: float
    plan_sd: float


def spread(case: Case) -> Spread:
    """Needs two seeds.

    `ceiling` is the highest correlation with the mean losses that the plans' true order could
    reach (square root of the reliability).
    """
    trained = case.trained
    loss, score = variance(trained.loss), variance(trained.score)
    return Spread(
        share_loss=loss.share,
        share_score=score.share,
        ceiling=float(np.sqrt(loss.reliability(trained.loss.shape[1]))),
        floor=noise_floor(trained.score),
        seed_sd=float(np.sqrt(score.seeds)),
        plan_sd=float(np.sqrt(score.plans)),
    )
