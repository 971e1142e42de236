"""Learning rates from the per-example gradients, without a training (design §6, "rates").

Adam's step is nearly a sign step (Kingma & Ba 2015, §2). Along η · s with s = sign(ḡ), ḡ the mean
gradient of log p over some examples, the loss of others falls by η E[g · s] − ½ η² E[(g · s)²],
where the Fisher information stands for the curvature; so the best single step is η* = E[g · s] /
E[(g · s)²]. A table holds u = g · s of every example and candidate, s being the sign of the half of
the examples that it is not in (over all of them E[g · s] = ‖ḡ‖₁ > 0 of noise, too, which made η*
ten times as large as with a signal); u of a kind at every layer is their sum.

η* is of one step at the start, from some hundred examples: it tells scales apart (of kinds, sizes,
encoders), and carries noise itself. So a rate follows it half way, on a log scale, from the rate
that is usual for the kind, and the less the more of the gradients is noise:

    rate = usual · (η* / typical)^(s/2) · (REFERENCE / updates)^decay · min(1, UNITS / units)^shrink

with η* / typical in [1/9, 9] and s = max(0, 1 − 1/z²), the positive-part factor of James & Stein
(1961) for a mean that is seen with z standard errors (`selection.reliability`): 0 of noise, ¾ at z
= 2, 1 of a clear signal. A threshold instead would let another draw of the same task's examples
change a rate threefold.

It falls with the number of updates where the module is a product of two matrices that grow
together. And usual rates are of encoders of up to `UNITS` hidden units over all layers; in larger
ones they fall as the square root of that, but for the head's. A step of η in every entry moves what
a layer puts out by more the wider it is (by up to η² · width for two factors, as in Hayou et al.
2024, LoRA+), the layers' add up, and η*, which is of the start alone, sees little of either.

How the numbers were found, and how they do where they were not: reports/rates.md. The prefix's are
of prefixes that start at random: nothing was fitted on `modules.prefix.start: text`.
"""

from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fishpal.common.checks import MAX_RATE
from fishpal.common.choices import Module
from fishpal.common.errors import PlanError
from fishpal.common.files import rounded
from fishpal.common.kinds import ModuleKind
from fishpal.params.options import LearningRates, RateOptions
from fishpal.records.fisher_table import FisherTable
from fishpal.records.grams import Grams
from fishpal.records.plan import RateReason
from fishpal.selection.reliability import z_score

REFERENCE = 125  # updates of the trainings that the usual rates are of
# Layers times hidden size of the encoder that they are of; half as many asked for no others.
UNITS = 6 * 384
FOLLOW = 0.5  # exponent of η* / typical
FURTHEST = 9.0  # η* / typical or its inverse: a rate moves by a factor of 3 at most
HEAD, FULL = "head", "full"


@dataclass(frozen=True)
class Law:
    """Of one kind: its usual rate at `REFERENCE` updates and up to `UNITS`, and its usual η*.

    `decay` and `shrink` are exponents, of more updates and of more units.
    """

    usual: float
    typical: float
    decay: float = 0.0
    shrink: float = 0.5

    def usual_in(self, units: int) -> float:
        """Of an encoder of so many hidden units over all layers."""
        return self.usual * min(1.0, UNITS / units) ** self.shrink

    def by_length(self, updates: int) -> float:
        """What so many updates make of it."""
        return (REFERENCE / updates) ** self.decay


LAWS: dict[str, Law] = {
    ModuleKind.PREFIX: Law(0.1, 0.25),
    ModuleKind.ADAPTER: Law(3e-3, 4e-3),
    # At B = 0 only B's gradient speaks; A then grows with it, so that a step moves ever more.
    ModuleKind.LORA: Law(4e-3, 0.03, decay=0.5),
    ModuleKind.BIAS: Law(3e-3, 3e-3),
    ModuleKind.IA3: Law(0.03, 0.3),
    HEAD: Law(1e-2, 0.03, shrink=0.0),
    FULL: Law(1e-4, 4e-4),
}


@dataclass(frozen=True)
class Rates:
    """Every kind's rate, those of candidates with a size of their own by word, and why.

    Reasons, by word, and rates by word are of kinds that were `auto` alone.
    """

    rates: LearningRates
    sized: dict[str, float]
    reasons: dict[str, RateReason]

    def times(self, word: str, factor: float) -> Self:
        """With a multiple of one candidate's rate, `MAX_RATE` at most."""
        kind = Module.parse(word).kind
        own = self.sized.get(word, getattr(self.rates, kind))
        found = rounded(min(MAX_RATE, factor * own))
        if word == kind:
            return replace(self, rates=replace(self.rates, **{kind: found}))
        return replace(self, sized=self.sized | {word: found})


def resolve_rates(
    options: RateOptions,
    table: FisherTable,
    grams: Grams | None,
    updates: int | None,
    full: bool = False,
) -> Rates:
    """Numbers for all that is `auto`, of the kinds that the table measured.

    Args:
        updates: that a falling rate is planned for; None: a constant one, of any length.
        full: of full fine-tuning, too, which other plans do without.

    Raises:
        PlanError: where the table lacks projections.
    """
    given = {each.name: getattr(options, each.name) for each in fields(options)}
    words = {HEAD: [HEAD]} | {kind: table.words(kind) for kind in table.kinds}
    words |= {FULL: [FULL]} if full else {}
    reasons: dict[str, RateReason] = {}
    units = table.encoder.layers * table.encoder.hidden
    for name, rate in given.items():
        for word in words.get(name, []) if rate == "auto" else []:
            found = _projections(name, word, table, grams)
            reasons[word] = explain_rate(name, found, updates or REFERENCE, units)
    auto = {word: rounded(reason.rate) for word, reason in reasons.items()}
    numbers = {name: auto.get(name, rate) for name, rate in given.items()}
    plain = LearningRates(**{name: rate for name, rate in numbers.items() if rate != "auto"})
    return Rates(plain, {word: rate for word, rate in auto.items() if word not in given}, reasons)


def best_step(projections: NDArray[np.float64]) -> float:
    """η* = mean u / mean u² of projections u (n); 0 where they all are."""
    square = float(np.mean(projections**2))
    return float(np.mean(projections)) / square if square > 0 else 0.0


def explain_rate(
    name: str, projections: NDArray[np.float64], updates: int, units: int = UNITS
) -> RateReason:
    """The rate of a kind at every layer, the head or the encoder, from projections (n)."""
    return rate_of(name, best_step(projections), z_score(projections), updates, units)


def rate_of(name: str, step: float, signal: float, updates: int, units: int = UNITS) -> RateReason:
    """The rate by η* and the z of the gradients that it is of, in an encoder of so many units."""
    law = LAWS[name]
    usual = law.usual_in(units)
    share = max(0.0, 1 - 1 / signal**2) if signal > 0 and step > 0 else 0.0
    follow = float(np.clip(step / law.typical, 1 / FURTHEST, FURTHEST)) ** (FOLLOW * share)
    shorter = law.by_length(updates)
    return RateReason(
        rate=rounded(usual * follow * shorter),
        step=rounded(step),
        signal=rounded(signal),
        usual=rounded(usual),
        by_step=rounded(follow),
        by_length=rounded(shorter),
    )


def _projections(
    name: str, word: str, table: FisherTable, grams: Grams | None
) -> NDArray[np.float64]:
    """Of the head, the encoder, or a kind's candidate at every layer, (n)."""
    found = None
    if grams is not None and name in (HEAD, FULL):
        found = grams.head if name == HEAD else grams.full
    elif grams is not None:
        wanted = [(layer, word) for layer in range(table.encoder.layers)]
        has_all = all(key in grams.projections for key in wanted)
        found = np.sum([grams.projections[key] for key in wanted], axis=0) if has_all else None
    if found is None:
        what = f"train.learning_rate.{name} is auto, and the Fisher table of task {table.task}"
        other = "fisher.full: true" if name == FULL else "a table measured anew"
        raise PlanError(f"{what} has no projections; allowed: a number, or {other}")
    return found
