"""From cells and signals to the study's findings, as plain rows; no text, no figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fishpal.common.errors import DataError
from fishpal.common.kinds import ModuleKind
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
from studies.criteria.design.names import Columns, letter, store_path

Array = NDArray[np.float64]
PLACEMENT, BLEND = "placement (learnt)", "blend (learnt)"


@dataclass(frozen=True)
class Case:
    """One task and size: what was trained, and what was measured before.

    Attributes:
        trained: the plans with modules; `head` is kept apart, since every criterion knows that
            no module is worse than some.
        signals: the store's lines of this task and size.
        base: the columns of the measurement that counts; others differ from it in one.
    """

    task: str
    size: int
    trained: Trained
    head: Trained
    signals: Sequence[Columns]
    base: Columns

    @property
    def scores(self) -> dict[str, Array]:
        """Every criterion's scores (P,) as measured by `base`."""
        return self.scores_under()

    def scores_under(self, **changed: Any) -> dict[str, Array]:
        """Criterion → scores (P,), in the order of `trained.plans`, with one thing changed."""
        found = self.measured(**changed)
        order = [found["plans"].index(plan) for plan in self.trained.layers]
        return {name: np.array(values)[order] for name, values in found["scores"].items()}

    def measured(self, **changed: Any) -> Columns:
        """The line that differs from `base` in these columns."""
        wanted = {**self.base, **changed}
        for line in self.signals:
            if all(line[name] == value for name, value in wanted.items()):
                return line
        raise DataError(f"{store_path('signals')}: no line of {self.task}, {self.size}, {wanted}")

    @property
    def mixes(self) -> list[int]:
        """The random mixes among the plans."""
        return self.trained.where(rule="mix")


def case(trained: Trained, signals: Sequence[Columns], base: Columns) -> Case:
    """Join one task's and size's results with all signals."""
    kept = [place for place, own in enumerate(trained.columns) if own["rule"] != "none"]
    task, size = trained.columns[0]["task"], trained.columns[0]["size"]
    own = [line for line in signals if (line["task"], line["size"]) == (task, size)]
    head = trained.take(trained.where(rule="none"))
    return Case(task, size, trained.take(kept), head, own, base)


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


def probe_totals(frame: pd.DataFrame, size: int, words: Sequence[str]) -> Array:
    """Scores (P,) of plans given as words: what their candidates gained alone, summed.

    A candidate's gain is the selection loss of the head alone less its own, in nats.
    """
    own = frame[frame["size"] == size]
    head = own[own.rule == "none"].selection_loss.mean()
    alone = own[own.rule == "alone"].groupby(["layer", "kind"]).selection_loss.mean()
    gains = {(int(i), letter(ModuleKind(kind))): head - loss for (i, kind), loss in alone.items()}
    return np.array([sum(gains[i, c] for i, c in enumerate(word) if c != "-") for word in words])
