"""Where a few modules go: the rivals of a criterion's plan under a budget."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from fishpal.common.kinds import ModuleKind
from fishpal.params.module_options import ModuleOptions
from studies.criteria.design.plans import KINDS, Choice, Layers
from studies.criteria.design.settings import Budget

Costs = dict[ModuleKind, int]
"""Parameters that one module of a kind keeps; the same at every layer."""


def budget_plans(
    budget: Budget, modules: ModuleOptions, costs: Costs, layers: int
) -> Iterator[Choice]:
    """For every share: random, top, bottom and spread placements, and smaller modules."""
    for share in budget.shares:
        limit = kept(budget, share, costs, layers)
        for found in (
            *_placements(costs, layers, limit, budget.draws),
            *_small(modules, costs, layers, limit),
        ):
            yield replace(found, columns={"share": share, **found.columns})


def kept(budget: Budget, share: float, costs: Costs, layers: int) -> int:
    """Parameters that a share of the full plan may keep."""
    return int(share * costs[budget.full] * layers)


def _placements(costs: Costs, layers: int, limit: int, draws: int) -> Iterator[Choice]:
    """Random placements, and each kind at the top, at the bottom and evenly spread.

    As many modules as the limit allows; kinds that fit at no layer, or at all, are left out.
    """
    for draw in range(draws):
        yield Choice({"rule": "random", "draw": draw}, _random(costs, layers, limit, draw))
    for kind in KINDS:
        count = limit // costs[kind]
        if 1 <= count < layers:
            spread = np.linspace(0, layers - 1, count).round().astype(int).tolist()
            places = {"top": range(layers - count, layers), "bottom": range(count)}
            for rule, chosen in (places | ({"spread": spread} if count > 1 else {})).items():
                plan = tuple(kind if layer in chosen else None for layer in range(layers))
                yield Choice({"rule": rule, "kind": kind.value}, plan)


def _small(options: ModuleOptions, costs: Costs, layers: int, limit: int) -> Iterator[Choice]:
    """Every kind at all layers, as large as the limit allows, where that is smaller than usual.

    Costs grow linearly with a kind's size, but for the adapter's output bias, which stays.
    """
    for kind in KINDS:
        share = limit / (costs[kind] * layers)
        if share < 1:
            smaller = _smaller(options, kind, share)
            yield Choice({"rule": "small", "kind": kind.value}, (kind,) * layers, smaller)


def _smaller(options: ModuleOptions, kind: ModuleKind, share: float) -> ModuleOptions:
    """The options with a kind's size cut to a share, rounded down, at least 1.

    The adapter loses one more: its output bias does not shrink. LoRA keeps its scale α / r.
    """
    if kind == ModuleKind.LORA:
        lora = options.lora
        rank = max(int(lora.rank * share), 1)
        return replace(options, lora=replace(lora, rank=rank, alpha=lora.alpha * rank / lora.rank))
    if kind == ModuleKind.ADAPTER:
        width = max(int(options.adapter.bottleneck * share) - 1, 1)
        return replace(options, adapter=replace(options.adapter, bottleneck=width))
    length = max(int(options.prefix.length * share), 1)
    return replace(options, prefix=replace(options.prefix, length=length))


def _random(costs: Costs, layers: int, limit: int, seed: int) -> Layers:
    """Candidates in a random order, each taken where its layer is free and it still fits."""
    rng = np.random.default_rng(seed)
    plan: list[ModuleKind | None] = [None] * layers
    spent = 0
    for number in rng.permutation(layers * len(KINDS)).tolist():
        layer, kind = number // len(KINDS), KINDS[number % len(KINDS)]
        if plan[layer] is None and spent + costs[kind] <= limit:
            plan[layer] = kind
            spent += costs[kind]
    return tuple(plan)
