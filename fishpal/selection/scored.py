"""The plan of the highest score under a criterion, and the space that it is chosen from."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

from fishpal.common.choices import Choice, Choices, choice_of, modules_of, names_of
from fishpal.common.errors import PlanError, one_of
from fishpal.common.files import rounded
from fishpal.common.kinds import CriterionName, Estimator, ModuleKind
from fishpal.params.options import SelectOptions
from fishpal.records.fisher_table import FisherTable
from fishpal.records.grams import Grams
from fishpal.records.plan import LayerScore, Reason
from fishpal.selection.criteria import score_rows
from fishpal.selection.kernel import HELD_OUT, KernelScorer
from fishpal.selection.rates import Rates
from fishpal.selection.reliability import NOISE, reliability
from fishpal.selection.search import Space


def space_of(table: FisherTable, options: SelectOptions) -> Space:
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


def by_criterion(
    table: FisherTable,
    grams: Grams | None,
    options: SelectOptions,
    rates: Rates,
    space: Space,
) -> tuple[Choices, Reason]:
    criterion = options.criterion
    if criterion == CriterionName.SNR and table.estimator != Estimator.EMPIRICAL:
        what = f"criterion snr is of observed labels, and the Fisher table is {table.estimator}"
        raise PlanError(f"{what}; allowed: fisher.estimator empirical, or another criterion")
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
    if table.examples < HELD_OUT:
        what = f"criterion kernel holds out every third example, and there are {table.examples}"
        raise PlanError(f"{what}; allowed: 3 or more (fisher.examples, sizes.fit)")
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


def unless_noise(
    choices: Choices,
    reason: Reason,
    grams: Grams | None,
    table: FisherTable,
    fallback: ModuleKind | None,
    space: Space,
) -> tuple[Choices, Reason]:
    """The choices, but the fallback where the gradients that chose them are noise.

    It stands wherever `space` allows it; where that is above the limit, or there is none, the
    choices stay, with a note.
    """
    unmeasured = reason.criterion in (CriterionName.PARAMETERS, CriterionName.DEPTH)
    found = None if grams is None or unmeasured else reliability(choices, grams)
    if found is None:
        return choices, reason
    reason = replace(reason, reliability=rounded(found))
    if found >= NOISE:
        return choices, reason
    note = f"the halves' gradients do not agree (z = {found:.1f}, noise below {NOISE:g})"
    if fallback is None:
        return choices, replace(reason, note=f"{note}, and select.fallback is null")
    kind = candidate_of(table, fallback if fallback in table.kinds else table.kinds[0])
    instead = tuple(kind if kind in allowed else None for allowed in space.options)
    if not space.fits(instead):
        return choices, replace(reason, note=f"{note}, and {kind} is above select.budget")
    where = "every layer" if None not in instead else "every layer that may have it"
    return instead, replace(reason, note=f"{note}: {kind} at {where} instead")


def candidate_of(table: FisherTable, kind: ModuleKind, size: int | None = None) -> str:
    """The word of the table's candidate of this size, by default the configured one."""
    if kind not in table.kinds:
        raise PlanError(one_of("kind", kind, table.kinds) + " (those of fisher.kinds)")
    own = table.modules.size(kind)
    found = {m.size or own: str(m) for m in table.candidates if m.kind == kind}
    if (size or own) not in found:
        sizes = ", ".join(map(str, filter(None, found))) or "null"
        raise PlanError(f"size is {size}; allowed for {kind}: {sizes}, as in the Fisher table")
    return found[size or own]
