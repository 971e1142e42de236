"""Methods: the named ways to get a plan from a Fisher table."""

from dataclasses import replace

import numpy as np

from fishpal.common.errors import PlanError, one_of
from fishpal.common.files import rounded
from fishpal.common.kinds import CriterionName, ModuleKind
from fishpal.params.methods import ByCriterion, Full, Method, Race, Random, Thesis, Uniform
from fishpal.params.options import LearningRates, RateOptions, SelectOptions
from fishpal.records.fisher_table import FisherTable
from fishpal.records.grams import Grams
from fishpal.records.pilot import Pilot
from fishpal.records.plan import LayerScore, Plan, Reason
from fishpal.selection.criteria import score_rows
from fishpal.selection.kernel import KernelScorer
from fishpal.selection.rates import HEAD, resolve_rates
from fishpal.selection.reliability import NOISE, reliability
from fishpal.selection.search import Choice, Choices, Space

P, A, L = ModuleKind.PREFIX, ModuleKind.ADAPTER, ModuleKind.LORA
# The thesis's hard-coded plans, for encoders of 12 layers (design §8).
THESIS_PLANS: dict[str, Choices] = {
    "sst2": (P,) * 5 + (A,) * 5 + (L,) * 2,
    "mrpc": (P, A, L, L) + (A,) * 6 + (L,) * 2,
    "mnli": (P, A, L, L) + (A,) * 6 + (L,) * 2,
}
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
    choices, reason = _choose(method, table, grams, options, resolved.rates, pilot, space)
    full = isinstance(method, Full)
    kept = table.encoder.parameters if full else space.cost(choices)
    why = {k: v for k, v in resolved.reasons.items() if k == HEAD or k in choices}
    return Plan(
        task=table.task,
        method=name,
        encoder=table.encoder,
        layers=choices,
        reason=replace(reason, rates=why),
        kept=kept,
        full=full,
        modules=table.modules,
        learning_rate=resolved.rates,
        updates=pilot.updates,
    )


def _choose(
    method: Method,
    table: FisherTable,
    grams: Grams | None,
    options: SelectOptions,
    rates: LearningRates,
    pilot: Pilot,
    space: Space,
) -> tuple[Choices, Reason]:
    """Every layer's kind, as the rule says."""
    reason, everywhere = Reason(rule=method.rule), table.encoder.layers
    match method:
        case ByCriterion():
            criterion = method.criterion or options.criterion
            choices, reason = _by_criterion(table, grams, criterion, rates, space)
            return _unless_noise(choices, reason, grams, table, options.fallback)
        case Race():
            return (pilot.best_kind(),) * everywhere, reason
        case Uniform():
            return (_known(table, method.kind),) * everywhere, reason
        case Random():
            return _random(space, method.seed or 0), replace(reason, budget=space.limit)
        case Thesis():
            return _thesis(table, method.plan or table.task), reason
    return (None,) * everywhere, reason


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
    kind = fallback if fallback in table.kinds else table.kinds[0]
    note = f"the halves' gradients do not agree (z = {found:.1f}, noise below {NOISE:g})"
    reason = replace(reason, note=f"{note}: {kind} at every layer instead")
    return (kind,) * len(choices), reason


def _space(table: FisherTable, options: SelectOptions) -> Space:
    """The plans to choose from: none comes last in a layer's options.

    Layers below the top `options.top_layers` get none.
    """
    layers = table.encoder.layers
    top = layers if options.top_layers is None else options.top_layers
    if top > layers:
        raise PlanError(f"select.top_layers is {top}; allowed: 1 to {layers}, the encoder's layers")
    allowed: tuple[Choice, ...] = (*table.kinds, None) if options.allow_none else table.kinds
    return Space(
        costs={(row.layer, row.kind): row.parameters for row in table.rows},
        options=[(None,)] * (layers - top) + [allowed] * top,
        limit=None if options.budget is None else int(options.budget * table.encoder.parameters),
    )


def _by_criterion(
    table: FisherTable,
    grams: Grams | None,
    criterion: CriterionName,
    rates: LearningRates,
    space: Space,
) -> tuple[Choices, Reason]:
    if criterion == CriterionName.KERNEL:
        scorer = _kernel_scorer(table, grams)
        choices = space.best_total(scorer.total)
        scores = _marginal_gains(scorer, choices, table.kinds)
        total = scorer.total(choices)
    else:
        scores = score_rows(criterion, table, rates)
        choices = space.best_sum(scores)
        total = sum(scores[i, kind] for i, kind in enumerate(choices) if kind is not None)
    why = tuple(
        LayerScore(i, kind, {each: rounded(scores[i, each]) for each in table.kinds})
        for i, kind in enumerate(choices)
    )
    return choices, Reason("criterion", criterion, rounded(total), space.limit, why)


def _kernel_scorer(table: FisherTable, grams: Grams | None) -> KernelScorer:
    expected = {(row.layer, row.kind) for row in table.rows}
    if grams is None or set(grams.kernels) != expected:
        what = "criterion kernel needs the kernels of every candidate, and the Fisher table of task"
        allowed = "fisher.gram true and fewer examples or classes, or another criterion"
        raise PlanError(f"{what} {table.task} has none; allowed: {allowed}")
    return KernelScorer(grams, table.encoder.layers, table.kinds)


def _marginal_gains(
    scorer: KernelScorer, choices: Choices, kinds: tuple[ModuleKind, ...]
) -> dict[tuple[int, str], float]:
    """What each candidate adds to the chosen plan, over leaving its layer empty."""
    gains: dict[tuple[int, str], float] = {}
    for layer in range(len(choices)):
        before, after = choices[:layer], choices[layer + 1 :]
        empty = scorer.total((*before, None, *after))
        for kind in kinds:
            gains[layer, kind] = scorer.total((*before, kind, *after)) - empty
    return gains


def _known(table: FisherTable, kind: ModuleKind) -> ModuleKind:
    if kind not in table.kinds:
        raise PlanError(one_of("kind", kind, table.kinds) + " (those of fisher.kinds)")
    return kind


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
    choices = THESIS_PLANS[name]
    if table.encoder.layers != len(choices):
        allowed = f"its plans are for encoders of {len(choices)}"
        found = f"the encoder has {table.encoder.layers} layers"
        raise PlanError(f"method thesis: {found}; allowed: {allowed}")
    for kind in choices:
        if kind is not None:
            _known(table, kind)
    return choices
