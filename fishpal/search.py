"""Finding the best plan under a parameter limit: exactly where scores add, else by ascent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, product

from fishpal.errors import PlanError
from fishpal.kinds import ModuleKind

Choice = ModuleKind | None
Choices = tuple[Choice, ...]
Costs = Mapping[tuple[int, ModuleKind], int]
Scores = Mapping[tuple[int, str], float]

EXHAUSTIVE = 1000  # plans that are scored one by one; 3 kinds at 6 layers make 729


def cost_of(layers: Choices, costs: Costs) -> int:
    """Parameters that the plan keeps."""
    return sum(costs[i, kind] for i, kind in enumerate(layers) if kind is not None)


def best_sum(
    scores: Scores, costs: Costs, layers: int, options: Sequence[Choice], limit: int | None
) -> Choices:
    """The plan of the highest total score within the limit, by dynamic programming.

    Exact: it keeps the best plan for every reachable number of parameters. Of equal plans the
    one whose choices come first in `options`, from layer 0 up, wins.

    Raises:
        PlanError: where no plan is within the limit.
    """
    # parameters → (−score, ranks of the choices): comparing these tuples is the tie rule
    states: dict[int, tuple[float, tuple[int, ...]]] = {0: (0.0, ())}
    for layer in range(layers):
        grown: dict[int, tuple[float, tuple[int, ...]]] = {}
        for spent, (loss, ranks) in states.items():
            for rank, kind in enumerate(options):
                total = spent + (0 if kind is None else costs[layer, kind])
                if limit is not None and total > limit:
                    continue
                gain = 0.0 if kind is None else scores[layer, kind]
                entry = (loss - gain, (*ranks, rank))
                if total not in grown or entry < grown[total]:
                    grown[total] = entry
        states = grown
    if not states:
        raise PlanError(_too_small(limit, costs, layers))
    _, ranks = min(states.values())
    return tuple(options[rank] for rank in ranks)


def best_total(
    total: Callable[[Choices], float],
    costs: Costs,
    layers: int,
    options: Sequence[Choice],
    limit: int | None,
) -> Choices:
    """The plan of the highest total within the limit, for a total that is not a sum.

    All plans where there are at most `EXHAUSTIVE`; else coordinate ascent from each uniform
    plan that fits, over single changes and exchanges of two layers, until neither helps.
    Of equal plans the first in the order of `options` wins.

    Raises:
        PlanError: where no plan is within the limit.
    """
    if len(options) ** layers <= EXHAUSTIVE:
        plans = [p for p in product(options, repeat=layers) if _fits(p, costs, limit)]
        if not plans:
            raise PlanError(_too_small(limit, costs, layers))
        return max(plans, key=total)  # the first of equals
    starts = list(_starts(costs, layers, options, limit))
    return max((_climb(start, total, costs, options, limit) for start in starts), key=total)


def _climb(
    plan: Choices,
    total: Callable[[Choices], float],
    costs: Costs,
    options: Sequence[Choice],
    limit: int | None,
) -> Choices:
    best = total(plan)
    improved = True
    while improved:
        improved = False
        for candidate in _neighbours(plan, options):
            if _fits(candidate, costs, limit) and total(candidate) > best:
                plan, best, improved = candidate, total(candidate), True
                break
    return plan


def _neighbours(plan: Choices, options: Sequence[Choice]) -> Iterator[Choices]:
    """Every plan that differs at one layer, then every exchange of two layers' choices."""
    for layer, kind in product(range(len(plan)), options):
        if kind != plan[layer]:
            yield (*plan[:layer], kind, *plan[layer + 1 :])
    for i, j in combinations(range(len(plan)), 2):
        if plan[i] != plan[j]:
            swapped = list(plan)
            swapped[i], swapped[j] = swapped[j], swapped[i]
            yield tuple(swapped)


def _starts(
    costs: Costs, layers: int, options: Sequence[Choice], limit: int | None
) -> list[Choices]:
    """Uniform plans that fit; where none does, the cheapest choice everywhere."""
    uniform: list[Choices] = [(kind,) * layers for kind in options]
    fitting = [plan for plan in uniform if _fits(plan, costs, limit)]
    cheapest: Choices = tuple(
        min(options, key=lambda kind: 0 if kind is None else costs[layer, kind])
        for layer in range(layers)
    )
    if not fitting and not _fits(cheapest, costs, limit):
        raise PlanError(_too_small(limit, costs, layers))
    return fitting or [cheapest]


def _fits(plan: Choices, costs: Costs, limit: int | None) -> bool:
    return limit is None or cost_of(plan, costs) <= limit


def _too_small(limit: int | None, costs: Costs, layers: int) -> str:
    least = sum(
        min(cost for (i, _), cost in costs.items() if i == layer) for layer in range(layers)
    )
    return (
        f"select.budget leaves {limit} parameters; allowed: {least} or more for a module at"
        " every layer, or select.allow_none: true"
    )
