"""Finding the best plan under a parameter limit: exactly where scores add, else by ascent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, product
from math import prod

from fishpal.common.errors import PlanError
from fishpal.common.kinds import ModuleKind

Choice = ModuleKind | None
Choices = tuple[Choice, ...]
Costs = Mapping[tuple[int, ModuleKind], int]
Scores = Mapping[tuple[int, str], float]
Options = Sequence[Sequence[Choice]]
"""What each layer may get, lowest layer first; of equal choices the earlier one is taken."""

EXHAUSTIVE = 1000  # plans that are scored one by one; 3 kinds at 6 layers make 729


def cost_of(layers: Choices, costs: Costs) -> int:
    """Parameters that the plan keeps."""
    return sum(costs[i, kind] for i, kind in enumerate(layers) if kind is not None)


def best_sum(scores: Scores, costs: Costs, options: Options, limit: int | None) -> Choices:
    """The plan of the highest total score within the limit, by dynamic programming.

    Exact: it keeps the best plan for every reachable number of parameters. Of equal plans the
    one whose choices come first in `options`, from layer 0 up, wins.

    Raises:
        PlanError: where no plan is within the limit.
    """
    # parameters → (−score, ranks of the choices): comparing these tuples is the tie rule
    states: dict[int, tuple[float, tuple[int, ...]]] = {0: (0.0, ())}
    for layer, allowed in enumerate(options):
        grown: dict[int, tuple[float, tuple[int, ...]]] = {}
        for spent, (loss, ranks) in states.items():
            for rank, kind in enumerate(allowed):
                total = spent + (0 if kind is None else costs[layer, kind])
                if limit is not None and total > limit:
                    continue
                gain = 0.0 if kind is None else scores[layer, kind]
                entry = (loss - gain, (*ranks, rank))
                if total not in grown or entry < grown[total]:
                    grown[total] = entry
        states = grown
    if not states:
        raise PlanError(_too_small(limit, costs, options))
    _, ranks = min(states.values())
    return tuple(allowed[rank] for allowed, rank in zip(options, ranks, strict=True))


def best_total(
    total: Callable[[Choices], float], costs: Costs, options: Options, limit: int | None
) -> Choices:
    """The plan of the highest total within the limit, for a total that is not a sum.

    All plans where there are at most `EXHAUSTIVE`; else coordinate ascent from each uniform
    plan that fits, over single changes and exchanges of two layers, until neither helps.
    Of equal plans the first in the order of `options` wins.

    Raises:
        PlanError: where no plan is within the limit.
    """
    if prod(len(allowed) for allowed in options) <= EXHAUSTIVE:
        plans = [p for p in product(*options) if _fits(p, costs, limit)]
        if not plans:
            raise PlanError(_too_small(limit, costs, options))
        return max(plans, key=total)  # the first of equals
    starts = list(_starts(costs, options, limit))
    return max((_climb(start, total, costs, options, limit) for start in starts), key=total)


def _climb(
    plan: Choices,
    total: Callable[[Choices], float],
    costs: Costs,
    options: Options,
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


def _neighbours(plan: Choices, options: Options) -> Iterator[Choices]:
    """Every plan that differs at one layer, then every exchange of two layers' choices."""
    for layer, allowed in enumerate(options):
        for kind in allowed:
            if kind != plan[layer]:
                yield (*plan[:layer], kind, *plan[layer + 1 :])
    for i, j in combinations(range(len(plan)), 2):
        if plan[i] != plan[j] and plan[i] in options[j] and plan[j] in options[i]:
            swapped = list(plan)
            swapped[i], swapped[j] = swapped[j], swapped[i]
            yield tuple(swapped)


def _starts(costs: Costs, options: Options, limit: int | None) -> list[Choices]:
    """Uniform plans that fit, as far as layers allow them; where none does, the cheapest plan."""
    kinds = dict.fromkeys(kind for allowed in options for kind in allowed)
    uniform = [tuple(k if k in allowed else allowed[0] for allowed in options) for k in kinds]
    fitting = [plan for plan in dict.fromkeys(uniform) if _fits(plan, costs, limit)]
    cheapest: Choices = tuple(
        min(allowed, key=lambda kind: 0 if kind is None else costs[layer, kind])
        for layer, allowed in enumerate(options)
    )
    if not fitting and not _fits(cheapest, costs, limit):
        raise PlanError(_too_small(limit, costs, options))
    return fitting or [cheapest]


def _fits(plan: Choices, costs: Costs, limit: int | None) -> bool:
    return limit is None or cost_of(plan, costs) <= limit


def _too_small(limit: int | None, costs: Costs, options: Options) -> str:
    least = sum(
        min(0 if kind is None else costs[layer, kind] for kind in allowed)
        for layer, allowed in enumerate(options)
    )
    return (
        f"select.budget leaves {limit} parameters; allowed: {least} or more for a module at"
        " every layer, or select.allow_none: true"
    )
