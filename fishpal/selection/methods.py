"""Methods: the named ways to get a plan from a Fisher table."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

import numpy as np

from fishpal.common.choices import Choice, Choices, choice_of, modules_of, names_of
from fishpal.common.errors import PlanError, one_of
from fishpal.common.files import rounded
from fishpal.common.kinds import CriterionName, ModuleKind
from fishpal.params.methods import ByCriterion, Full, Method, Race, Random, Thesis, Uniform
from fishpal.params.options import RateOptions, SelectOptions
from fishpal.records.fisher_table import FisherTable
from fishpal.records.grams import Grams
from fishpal.records.pilot import Arm, Pilot
from fishpal.records.plan import LayerScore, Plan, Reason
from fishpal.selection.criteria import score_rows
from fishpal.selection.kernel import KernelScorer
from fishpal.selection.rates import HEAD, Rates, resolve_rates
from fishpal.selection.reliability import NOISE, reliability
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
        kinds = dict.fromkeys((*ModuleKind, "full"), method.learning_rate)
        rates = replace(rates, **{str(kind): rate for kind, rate in kinds.items()})
    resolved = resolve_rates(rates, table, grams, pilot.updates)
    space = _space(table, options)
    choices, reason = _choose(method, table, grams, options, resolved, pilot, space)
    full, modules = isinstance(method, Full), table.modules.chosen()
    kept = table.encoder.parameters if full else space.cost(choices)
    used = {HEAD} | {word for _, word in names_of(choices)}
    why = {word: reason for word, reason in resolved.reasons.items() if word in used}
    if isinstance(method, Race):
        arm = _arm(method, pilot)
        kept, resolved = arm.kept or kept, resolved.times(arm.kind, arm.factor)
        if arm.kind in table.kinds:  # words with a size of their own have no other
            modules = modules.shrunk(ModuleKind(arm.kind), arm.share)
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
            choices, reason = _by_criterion(table, grams, options, rates, space)
            return _unless_noise(choices, reason, grams, table, options.fallback)
        case Race():
            arm = _arm(method, pilot)
            return (arm.kind,) * everywhere, replace(reason, note=_said_of(arm))
        case Uniform():
            return (_candidate(table, method.kind, method.size),) * everywhere, reason
        case Random():
            return _random(space, method.seed or 0), replace(reason, budget=space.limit)
        case Thesis():
            kinds = thesis_kinds(method.plan or table.task, everywhere)
            return tuple(_candidate(table, kind) for kind in kinds), reason
    return (None,) * everywhere, reason


def _arm(method: Race, pilot: Pilot) -> Arm:
    """Of the pilot, as the rule says."""
    return pilot.winner() if method.margin is None else pilot.smallest(method.margin)


def _said_of(arm: Arm) -> str | None:
    """In which way the arm is not its kind's usual one; None: in none."""
    at_rate = [] if arm.factor == 1 else [f"{arm.factor:g} times its own rate"]
    at_size = [] if arm.share == 1 else [f"{arm.share:g} of its size"]
    return f"{arm.kind} at {' and '.join(at_rate + at_size)}" if at_rate + at_size else None


def _unless_noise(
    choices: Choices,
    reason: Reason,
    grams: Grams | None,
    table: FisherTable,
    fallback: ModuleKind | None,
) -> tuple[Choices, Reason]:
    """The choices, but the fallback where the gradients that chose them are noise."""
    found = None if grams is None else reliability(choices, grams)
    if found is None:
        return choices, reason
    reason = replace(reason, reliability=rounded(found))
    if fallback is None or found >= NOISE:
        return choices, reason
    kind = _candidate(table, fallback if fallback in table.kinds else table.kinds[0])
    note = f"the halves' gradients do not agree (z = {found:.1f}, noise below {NOISE:g})"
    reason = replace(reason, note=f"{note}: {kind} at every layer instead")
    return (kind,) * len(choices), reason


def _space(table: FisherTable, options: SelectOptions) -> Space:
    """The plans to choose from: in a layer's options single modules come first, none last.

    Layers below the top `options.top_layers` get none.
    """
    layers = table.encoder.layers
    top = layers if options.top_layers is None else options.top_layers
    if top > layers:
        raise PlanError(f"select.top_layers is {top}; allowed: 1 to {layers}, the encoder's layers")
    allowed = list(_combinations(table, options.per_layer))
    allowed += [None] if options.allow_none else []
    return Space(
        costs={row.key: row.parameters for row in table.rows},
        options=[(None,)] * (layers - top) + [allowed] * top,
        limit=None if options.budget is None else int(options.budget * table.encoder.parameters),
    )


def _combinations(table: FisherTable, most: int) -> Iterator[Choice]:
    """One to `most` candidates, no two of a kind, in the table's order."""
    for size in range(1, most + 1):
        for modules in combinations(table.candidates, size):
            if len({module.kind for module in modules}) == size:
                yield choice_of(modules)


def _by_criterion(
    table: FisherTable,
    grams: Grams | None,
    options: SelectOptions,
    rates: Rates,
    space: Space,
) -> tuple[Choices, Reason]:
    criterion = options.criterion
    if criterion == CriterionName.KERNEL:
        scorer = _kernel_scorer(table, grams, options.per_layer)
        choices = space.best_total(scorer.total)
        scores = _marginal_gains(scorer, choices, table)
        total = scorer.total(choices)
    else:
        scores = score_rows(criterion, table, rates.rates, rates.sized)
        choices = space.best_sum(scores)
        total = sum(scores[name] for name in names_of(choices))
    words = [str(module) for module in table.candidates]
    why = tuple(
        LayerScore(i, choice, {each: rounded(scores[i, each]) for each in words})
        for i, choice in enumerate(choices)
    )
    return choices, Reason("criterion", criterion, rounded(total), space.limit, why)


def _kernel_scorer(table: FisherTable, grams: Grams | None, per_layer: int) -> KernelScorer:
    if grams is None or set(grams.kernels) != {row.key for row in table.rows}:
        what = "criterion kernel needs the kernels of every candidate, and the Fisher table of task"
        allowed = "fisher.gram true and fewer examples or classes, or another criterion"
        raise PlanError(f"{what} {table.task} has none; allowed: {allowed}")
    return KernelScorer(grams, table.encoder.layers, per_layer)


def _marginal_gains(
    scorer: KernelScorer, choices: Choices, table: FisherTable
) -> dict[tuple[int, str], float]:
    """What each candidate adds to the chosen plan, over a layer without it or its kind.

    Beside it stand the layer's chosen modules of other kinds, where several may.
    """
    gains: dict[tuple[int, str], float] = {}
    for layer, chosen in enumerate(choices):
        before, after = choices[:layer], choices[layer + 1 :]
        for module in table.candidates:
            others = [] if scorer.per_layer == 1 else modules_of(chosen)
            others = [each for each in others if each.kind != module.kind]
            added = scorer.total((*before, choice_of([*others, module]), *after))
            gains[layer, str(module)] = added - scorer.total((*before, choice_of(others), *after))
    return gains


def _candidate(table: FisherTable, kind: ModuleKind, size: int | None = None) -> str:
    """The word of the table's candidate of this size, by default the configured one."""
    if kind not in table.kinds:
        raise PlanError(one_of("kind", kind, table.kinds) + " (those of fisher.kinds)")
    own = table.modules.size(kind)
    found = {m.size or own: str(m) for m in table.candidates if m.kind == kind}
    if (size or own) not in found:
        sizes = ", ".join(map(str, filter(None, found))) or "null"
        raise PlanError(f"size is {size}; allowed for {kind}: {sizes}, as in the Fisher table")
    return found[size or own]


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
