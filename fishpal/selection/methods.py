"""Methods: the named ways to get a plan from a Fisher table."""

from dataclasses import replace

import numpy as np

from fishpal.common.choices import Choices, names_of
from fishpal.common.errors import PlanError, one_of
from fishpal.common.kinds import ModuleKind
from fishpal.params.methods import (
    ByCriterion,
    Full,
    Mam,
    Method,
    Race,
    Random,
    Thesis,
    Uniform,
    Unipelt,
)
from fishpal.params.options import RateOptions, SelectOptions
from fishpal.records.fisher_table import FisherTable
from fishpal.records.grams import Grams
from fishpal.records.pilot import Pilot
from fishpal.records.plan import Plan, Reason
from fishpal.selection.rates import HEAD, Rates, resolve_rates
from fishpal.selection.scored import by_criterion, candidate_of, space_of, unless_noise
from fishpal.selection.search import Space

P, A, L = ModuleKind.PREFIX, ModuleKind.ADAPTER, ModuleKind.LORA
# The thesis's hard-coded plans, for encoders of 12 layers (design §8).
THESIS_PLANS: dict[str, tuple[ModuleKind, ...]] = {
    "sst2": (P,) * 5 + (A,) * 5 + (L,) * 2,
    "mrpc": (P, A, L, L) + (A,) * 6 + (L,) * 2,
    "mnli": (P, A, L, L) + (A,) * 6 + (L,) * 2,
}
TOGETHER = {"mam": (P, A), "unipelt": (P, A, L)}
RANDOM_DRAWS = 10_000  # a random plan is redrawn this often until it is within the budget


def select_plan(
    table: FisherTable,
    grams: Grams | None,
    name: str,
    method: Method,
    options: SelectOptions,
    rates: RateOptions,
    pilot: Pilot,
) -> Plan:
    """The plan of one method.

    Args:
        grams: needed by the kernel criterion, by rates that are `auto` and by the check for noise.
        name: the method's name, for the plan.
        rates: learning rates by kind; the plan carries those that it uses.
        pilot: how long the plan is to be trained, and what rule `race` asks.

    Raises:
        PlanError: where the table lacks what the method needs, or nothing is within the budget.
    """
    if method.learning_rate is not None:
        kinds = dict.fromkeys((*ModuleKind, "gate", "full"), method.learning_rate)
        rates = replace(rates, **{str(kind): rate for kind, rate in kinds.items()})
    resolved = resolve_rates(rates, table, grams, pilot.updates)
    space = space_of(table, options)
    choices, reason = _choose(method, table, grams, options, resolved, pilot, space)
    full = isinstance(method, Full)
    kept = table.encoder.parameters if full else space.cost(choices)
    modules = table.modules.chosen()
    match method:
        case Mam():
            modules = replace(modules, adapter=replace(modules.adapter, placement="parallel"))
        case Unipelt() if not modules.gates:
            modules = replace(modules, gates=True)
            kept += len(names_of(choices)) * (table.encoder.hidden + 1)  # weights and bias of each
    used = {HEAD} | {word for _, word in names_of(choices)}
    why = {word: reason for word, reason in resolved.reasons.items() if word in used}
    return Plan(
        task=table.task,
        method=name,
        encoder=table.encoder,
        layers=choices,
        reason=replace(reason, rates=why),
        kept=kept,
        full=full,
        modules=modules,
        learning_rate=resolved.rates,
        updates=pilot.updates,
        rates=resolved.sized,
    )


def _choose(
    method: Method,
    table: FisherTable,
    grams: Grams | None,
    options: SelectOptions,
    rates: Rates,
    pilot: Pilot,
    space: Space,
) -> tuple[Choices, Reason]:
    """Every layer's kind, as the rule says."""
    reason, everywhere = Reason(rule=method.rule), table.encoder.layers
    match method:
        case ByCriterion():
            options = replace(options, criterion=method.criterion or options.criterion)
            choices, reason = by_criterion(table, grams, options, rates, space)
            return unless_noise(choices, reason, grams, table, options.fallback)
        case Race():
            return (pilot.best_kind(),) * everywhere, reason
        case Uniform():
            return (candidate_of(table, method.kind, method.size),) * everywhere, reason
        case Random():
            return _random(space, method.seed or 0), replace(reason, budget=space.limit)
        case Thesis():
            return _thesis(table, method.plan or table.task), reason
        case Mam() | Unipelt():
            together = [candidate_of(table, kind) for kind in TOGETHER[method.rule]]
            return ("+".join(together),) * everywhere, reason
    return (None,) * everywhere, reason


def _random(space: Space, seed: int) -> Choices:
    """Uniform over all plans within the budget, by drawing until one is."""
    rng = np.random.default_rng(seed)
    for _ in range(RANDOM_DRAWS):
        choices = tuple(each[int(rng.integers(len(each)))] for each in space.options)
        if space.fits(choices):
            return choices
    raise PlanError(
        f"method random: none of {RANDOM_DRAWS} plans keeps at most {space.limit} parameters;"
        " allowed: a larger select.budget, or select.allow_none: true"
    )


def _thesis(table: FisherTable, name: str) -> Choices:
    if name not in THESIS_PLANS:
        raise PlanError(one_of("method thesis: plan", name, THESIS_PLANS))
    kinds = THESIS_PLANS[name]
    if table.encoder.layers != len(kinds):
        allowed = f"its plans are for encoders of {len(kinds)}"
        found = f"the encoder has {table.encoder.layers} layers"
        raise PlanError(f"method thesis: {found}; allowed: {allowed}")
    return tuple(candidate_of(table, kind) for kind in kinds)
