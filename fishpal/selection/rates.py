"""Learning rates from the per-example gradients, without a training (design §6, "rates").

Adam's step is nearly a sign step (Kingma & Ba 2015, §2). Along η · s with s = sign(ḡ), ḡ the mean
gradient of log p, the loss falls by η ‖ḡ‖₁ − ½ η² E[(g · s)²], where the Fisher information stands
for the curvature; so the best single step is η* = ‖ḡ‖₁ / E[(g · s)²]. A table holds u = g · s of
every example and candidate, and u of a kind at every layer is their sum.

η* is of one step at the start; a training's best peak rate is a multiple of it, and falls with
the number of updates where the module is a product of two matrices that grow together:

    rate = η* · constant · (REFERENCE / updates)^decay

Constants are fitted once, on other tasks, sizes and encoders than they were judged on
(reports/rates.md).
"""

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from fishpal.common.checks import MAX_RATE
from fishpal.common.errors import PlanError
from fishpal.common.files import rounded
from fishpal.common.kinds import ModuleKind
from fishpal.params.options import LearningRates, RateOptions
from fishpal.records.fisher_table import FisherTable
from fishpal.records.grams import Grams
from fishpal.records.plan import RateReason

REFERENCE = 125  # updates of the trainings that the constants were fitted to
HEAD = "head"


@dataclass(frozen=True)
class Law:
    """rate = η* · constant · (REFERENCE / updates)^decay."""

    constant: float
    decay: float = 0.0


LAWS: dict[str, Law] = {
    ModuleKind.PREFIX: Law(0.5),
    ModuleKind.ADAPTER: Law(0.5),
    # At B = 0 only B's gradient speaks; A then grows with it, so that a step moves ever more.
    ModuleKind.LORA: Law(0.1, decay=0.5),
    HEAD: Law(0.5),
}


@dataclass(frozen=True)
class Rates:
    """Every kind's rate, and why: of those that were `auto` alone."""

    rates: LearningRates
    reasons: dict[str, RateReason]


def resolve_rates(
    options: RateOptions, table: FisherTable, grams: Grams | None, updates: int
) -> Rates:
    """Numbers for all that is `auto`, of the kinds that the table measured.

    Raises:
        PlanError: where the table lacks projections, or a gradient is zero throughout.
    """
    given = {each.name: getattr(options, each.name) for each in fields(options)}
    rates, reasons = LearningRates(), {}
    for name, rate in given.items():
        if rate != "auto":
            rates = replace(rates, **{name: rate})
        elif name == HEAD or name in table.kinds:
            reason = _reason(name, _projections(name, table, grams), updates)
            chosen = reason.step * reason.constant * (REFERENCE / updates) ** reason.decay
            rates = replace(rates, **{name: rounded(min(chosen, MAX_RATE))})
            reasons[name] = reason
    return Rates(rates, reasons)


def best_step(projections: NDArray[np.float64]) -> float:
    """η* = mean u / mean u² of projections u (n); 0 where they all are."""
    square = float(np.mean(projections**2))
    return float(np.mean(projections)) / square if square > 0 else 0.0


def _projections(name: str, table: FisherTable, grams: Grams | None) -> NDArray[np.float64]:
    """u (n) of the head, or of a kind at every layer."""
    found = None if grams is None else grams.head
    if name != HEAD and grams is not None:
        wanted = [(layer, ModuleKind(name)) for layer in range(table.encoder.layers)]
        has_all = all(key in grams.projections for key in wanted)
        found = np.sum([grams.projections[key] for key in wanted], axis=0) if has_all else None
    if found is None:
        what = f"train.learning_rate.{name} is auto, and the Fisher table of task {table.task}"
        raise PlanError(f"{what} has no projections; allowed: a number, or a table measured anew")
    return found[0]


def _reason(name: str, projections: NDArray[np.float64], updates: int) -> RateReason:
    step = best_step(projections)
    if step <= 0:
        what = f"train.learning_rate.{name} is auto, and its gradients are all zero"
        raise PlanError(f"{what}; allowed: a number")
    law = LAWS[name]
    return RateReason(rounded(step), law.constant, REFERENCE, law.decay, updates)
