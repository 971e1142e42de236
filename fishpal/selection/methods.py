"""Methods: the named ways to get a plan from a Fisher table."""

from dataclasses import replace

import numpy as np

from fishpal.common.choices import Choices, names_of
from fishpal.common.errors import PlanError, caution, one_of
from fishpal.common.kinds import ModuleKind
from fishpal.params.agreement import KINDS
from fishpal.params.methods import (
    ByCriterion,
    Full,
    HeadOnly,
    Mam,
    Method,
    ModuleMethod,
    Race,
    Random,
    Thesis,
    Uniform,
    Unipelt,
)
from fishpal.params.module_options import ModuleOptions
from fishpal.params.options import RateOptions, SelectOptions
from fishpal.records.fisher_table import FisherTable
from fishpal.records.grams import Grams
from fishpal.records.pilot import Arm, Pilot
from fishpal.records.plan import Plan, Reason
from fishpal.selection.rates import FULL, HEAD, Rates, resolve_rates
from fishpal.selection.scored import by_criterion, candidate_of, space_of, unless_noise
from fishpal.selection.search import Space
from fishpal.selection.thesis import thesis_kinds

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
        own = (HEAD,) if isinstance(method, HeadOnly) else (*ModuleKind, "gate", FULL)
        rates = replace(rates, **dict.fromkeys(map(str, own), method.learning_rate))
    full, modules = isinstance(method, Full), _options(method, table)
    resolved = resolve_rates(rates, table, grams, pilot.planned, full=full)
    space = space_of(table, options)
    choices, reason = _choose(method, table, grams, options, resolved, pilot, space)
    kept = table.encoder.parameters if full else _cost(choices, modules, table, space)
    words = dict.fromkeys(word for _, word in names_of(choices))
    why = {w: found for w, found in resolved.reasons.items() if w in {HEAD, FULL, *words}}
    arm = pilot.winner() if isinstance(method, Race) else None
    if arm is not None and arm.factor != 1 and method.learning_rate is None:
        for word in words:
            resolved = resolved.times(word, arm.factor)
    plan = Plan(
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
    if isinstance(method, ModuleMethod):
        plan = replace(plan, compress=method.compress, margin=method.margin)
    return plan if arm is None else _warned(plan, options, space)


def _cost(choices: Choices, modules: ModuleOptions, table: FisherTable, space: Space) -> int:
    """Parameters that the modules keep."""
    gated = modules.gates and not table.modules.gates
    gate = (table.encoder.hidden + 1) if gated else 0  # weights and bias
    return space.cost(choices) + gate * len(names_of(choices))


def _warned(plan: Plan, options: SelectOptions, space: Space) -> Plan:
    """The plan of the pilot's winner, which knows no limits; warns where it is beyond some."""
    pairs = zip(plan.layers, space.options, strict=True)
    beyond = []
    if space.limit is not None and plan.kept > space.limit:
        beyond += [f"keeps {plan.kept} parameters, above select.budget ({space.limit})"]
    if any(word and allowed == (None,) for word, allowed in pairs):
        beyond += [f"has modules below the top {options.top_layers} (select.top_layers)"]
    if beyond:
        what = f"{plan.task}: the plan of rule race {' and '.join(beyond)}"
        caution(f"{what}: rules criterion and random alone keep to these")
    return plan


def _options(method: Method, table: FisherTable) -> ModuleOptions:
    """The table's modules', as the rule changes them."""
    modules = table.modules.chosen()
    match method:
        case Mam():
            return replace(modules, adapter=replace(modules.adapter, placement="parallel"))
        case Unipelt():
            return replace(modules, gates=True)
    return modules


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
            return unless_noise(choices, reason, grams, table, options.fallback, space)
        case Race():
            arm = pilot.winner()
            choices = arm.layers or (arm.kind,) * everywhere
            known = [str(module) for module in table.candidates]
            unknown = sorted({word for _, word in names_of(choices)} - {*known})
            if unknown:
                raise PlanError(one_of("the pilot's arm", unknown[0], known) + ", as measured")
            return choices, replace(reason, note=_said_of(arm))
        case Uniform():
            return (candidate_of(table, method.kind, method.size),) * everywhere, reason
        case Random():
            return _random(space, method.seed or 0), replace(reason, budget=space.limit)
        case Thesis():
            kinds = thesis_kinds(method.plan or table.task, everywhere)
            return tuple(candidate_of(table, kind) for kind in kinds), reason
        case Mam() | Unipelt():
            together = [candidate_of(table, kind) for kind in KINDS[method.rule]]
            return ("+".join(together),) * everywhere, reason
    return (None,) * everywhere, reason


def _said_of(arm: Arm) -> str | None:
    """In which way the arm is not the usual one of its kind; or None."""
    what = arm.kind if arm.layers is None else f"the plan of {arm.kind}"
    rate = "" if arm.factor == 1 else f" at {arm.factor:.3g} times its own rate"
    return what + rate if rate or arm.layers else None


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
