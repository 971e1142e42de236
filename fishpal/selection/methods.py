"""Methods: the named ways to get a plan from a Fisher table."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fishpal.common.errors import PlanError, one_of
from fishpal.common.kinds import ModuleKind
from fishpal.params.options import LearningRates, SelectOptions
from fishpal.records.fisher_table import FisherTable
from fishpal.records.grams import Grams
from fishpal.records.plan import LayerScore, Plan, Reason
from fishpal.selection.criteria import KERNEL, check_criterion, score_rows
from fishpal.selection.kernel import KernelScorer
from fishpal.selection.search import Choice, Choices, best_sum, best_total, cost_of

if TYPE_CHECKING:  # pydantic is no need of the core
    from fishpal.params.sections import Method

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
    rates: LearningRates,
) -> Plan:
    """The plan of one method.

    Args:
        grams: needed by the kernel criterion alone.
        name: the method's name, for the plan.
        rates: learning rates by kind; the plan carries those that it uses.

    Raises:
        PlanError: where the table lacks what the method needs, or nothing is within the budget.
        ParamsError: for an unknown criterion.
    """
    if method.learning_rate is not None:
        kinds = dict.fromkeys((*ModuleKind, "full"), method.learning_rate)
        rates = replace(rates, **{str(kind): rate for kind, rate in kinds.items()})
    limit = None if options.budget is None else int(options.budget * table.encoder.parameters)
    costs = {(row.layer, row.kind): row.parameters for row in table.rows}
    choices: Choices = (None,) * table.encoder.layers
    reason = Reason(rule=method.rule)
    if method.rule == "criterion":
        key = "select.criterion" if method.criterion is None else f"methods.{name}.criterion"
        criterion = check_criterion(method.criterion or options.criterion, key)
        choices, reason = _by_criterion(table, grams, criterion, options, rates, limit)
    elif method.rule == "uniform":
        choices = (_known(table, method.kind),) * table.encoder.layers
    elif method.rule == "random":
        choices = _random(table, options, method.seed or 0, limit)
        reason = replace(reason, budget=limit)
    elif method.rule == "thesis":
        choices = _thesis(table, method.plan or table.task)
    full = method.rule == "full"
    return Plan(
        task=table.task,
        method=name,
        encoder=table.encoder,
        layers=choices,
        reason=reason,
        kept=table.encoder.parameters if full else cost_of(choices, costs),
        full=full,
        modules=table.modules,
        learning_rate=rates,
    )


def _by_criterion(
    table: FisherTable,
    grams: Grams | None,
    criterion: str,
    options: SelectOptions,
    rates: LearningRates,
    limit: int | None,
) -> tuple[Choices, Reason]:
    costs = {(row.layer, row.kind): row.parameters for row in table.rows}
    allowed = _options(table, options)
    layers = table.encoder.layers
    if criterion == KERNEL:
        scorer = _kernel_scorer(table, grams)
        choices = best_total(scorer.total, costs, allowed, limit)
        scores = _marginal_gains(scorer, choices, table.kinds)
        total = scorer.total(choices)
    else:
        scores = score_rows(criterion, table, rates)
        choices = best_sum(scores, costs, allowed, limit)
        total = sum(scores[i, kind] for i, kind in enumerate(choices) if kind is not None)
    why = tuple(
        LayerScore(i, choices[i], {kind: _rounded(scores[i, kind]) for kind in table.kinds})
        for i in range(layers)
    )
    return choices, Reason("criterion", criterion, _rounded(total), limit, why)


def _kernel_scorer(table: FisherTable, grams: Grams | None) -> KernelScorer:
    expected = {(row.layer, row.kind) for row in table.rows}
    if grams is None or set(grams.kernels) != expected:
        raise PlanError(
            "criterion kernel needs the kernels of every candidate, and the Fisher table of task"
            f" {table.task} has none; allowed: fisher.gram true, or another criterion"
        )
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


def _options(table: FisherTable, options: SelectOptions) -> list[tuple[Choice, ...]]:
    """What each layer may get, in the order in which ties break; none comes last.

    Layers below the top `options.top_layers` get none.
    """
    layers = table.encoder.layers
    top = options.top_layers
    if top is not None and top > layers:
        raise PlanError(f"select.top_layers is {top}; allowed: 1 to {layers}, the encoder's layers")
    allowed: tuple[Choice, ...] = (*table.kinds, None) if options.allow_none else table.kinds
    empty = 0 if top is None else layers - top
    return [(None,)] * empty + [allowed] * (layers - empty)


def _known(table: FisherTable, kind: ModuleKind | None) -> ModuleKind:
    if kind is None or kind not in table.kinds:
        raise PlanError(one_of("kind", kind, table.kinds) + " (those of fisher.kinds)")
    return kind


def _random(table: FisherTable, options: SelectOptions, seed: int, limit: int | None) -> Choices:
    """Uniform over all plans within the budget, by drawing until one is."""
    rng = np.random.default_rng(seed)
    allowed = _options(table, options)
    costs = {(row.layer, row.kind): row.parameters for row in table.rows}
    for _ in range(RANDOM_DRAWS):
        choices = tuple(each[rng.integers(len(each))] for each in allowed)
        if limit is None or cost_of(choices, costs) <= limit:
            return choices
    raise PlanError(
        f"method random: none of {RANDOM_DRAWS} plans keeps at most {limit} parameters; allowed:"
        " a larger select.budget, or select.allow_none: true"
    )


def _thesis(table: FisherTable, name: str) -> Choices:
    if name not in THESIS_PLANS:
        raise PlanError(one_of("method thesis: plan", name, THESIS_PLANS))
    choices = THESIS_PLANS[name]
    if table.encoder.layers != len(choices):
        raise PlanError(
            f"method thesis: the encoder has {table.encoder.layers} layers; allowed: its plans are"
            f" for encoders of {len(choices)}"
        )
    for kind in choices:
        _known(table, kind)
    return choices


def _rounded(value: float) -> float:
    """Nine digits, as in the table: a plan file should not differ by an ulp."""
    return float(f"{value:.9g}")
