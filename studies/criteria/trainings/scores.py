"""What each criterion says of a plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fishpal.common.kinds import CriterionName
from fishpal.params.options import LearningRates
from fishpal.records.fisher_table import FisherTable
from fishpal.records.grams import Grams
from fishpal.selection.criteria import ROW_CRITERIA, score_rows
from fishpal.selection.kernel import KernelScorer
from studies.criteria.design.plans import KINDS, Layers

Scorer = Callable[[Layers], float]
RowScores = dict[tuple[int, str], float]


def additive(scores: RowScores) -> Scorer:
    """The sum of the chosen candidates' scores; an empty layer adds 0."""
    return lambda plan: sum(scores[i, kind] for i, kind in enumerate(plan) if kind is not None)


def standardised(scores: RowScores) -> RowScores:
    """Each kind's scores over the layers to mean 0 and deviation 1: the kinds' scales are gone."""
    result: RowScores = {}
    for kind in KINDS:
        keys = [key for key in scores if key[1] == kind]
        values = np.array([scores[key] for key in keys])
        spread = values.std() or 1.0
        result |= {key: float((scores[key] - values.mean()) / spread) for key in keys}
    return result


def logarithms(scores: RowScores) -> RowScores:
    """log of each score; those at or below 0 (a gradient of exactly zero) become the least log."""
    positive = [value for value in scores.values() if value > 0]
    least = min(positive, default=1.0)
    return {key: float(np.log(max(value, least))) for key, value in scores.items()}


def scorers(table: FisherTable, grams: Grams, rates: LearningRates) -> dict[str, Scorer]:
    """Every criterion of the library by its name."""
    found: dict[str, Scorer] = {
        name.value: additive(score_rows(name, table, rates)) for name in ROW_CRITERIA
    }
    if grams.kernels:
        found[CriterionName.KERNEL] = KernelScorer(grams, table.encoder.layers).total
    return found


TRANSFORMED: dict[str, tuple[str, Callable[[RowScores], RowScores]]] = {
    "trace (raw)": ("trace", dict),
    "mean (per parameter)": ("mean", dict),
    "mean, standardised by kind": ("mean", standardised),
    "log mean": ("mean", logarithms),
    "log trace": ("trace", logarithms),
    "mean with the thesis's scales": ("thesis", dict),
    "snr, standardised by kind": ("snr", standardised),
    "log snr": ("snr", logarithms),
}
"""The thesis's signal, and snr, under other scales: what of it is signal, what scale?"""


def transformed(table: FisherTable, rates: LearningRates) -> dict[str, Scorer]:
    """Scorers of all of `TRANSFORMED`."""
    return {
        name: additive(change(score_rows(CriterionName(criterion), table, rates)))
        for name, (criterion, change) in TRANSFORMED.items()
    }


def totals(scorer: Scorer, plans: Sequence[Layers]) -> list[float]:
    """The score of every plan."""
    return [float(scorer(plan)) for plan in plans]
