"""Where a few modules go: the rivals of a criterion's plan under a budget."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from fishpal.common.kinds import ModuleKind
from fishpal.params.options import ModuleOptions
from studies.criteria.design.plans import KINDS, Layers

Costs = dict[ModuleKind, int]
"""Parameters that one module of a kind keeps; the same at every layer."""


def placements(costs: Costs, layers: int, limit: int, draws: int) -> dict[str, Layers]:
    """Random placements, and each kind at the top, at the bottom and evenly spread.

    As many modules as the limit allows; kinds that fit at no layer, or at all, are left out.
    """
    found = {f"random_{i}": _random(costs, layers, limit, i) for i in range(draws)}
    for kind in KINDS:
        count = limit // costs[kind]
        if 1 <= count < layers:
            spread = np.linspace(0, layers - 1, count).round().astype(int)
            found[f"top_{kind}"] = _at(range(layers - count, layers), kind, layers)
            found[f"bottom_{kind}"] = _at(range(count), kind, layers)
            if count > 1:
                found[f"spread_{kind}"] = _at(spread.tolist(), kind, layers)
    return found


def small(
    options: ModuleOptions, costs: Costs, layers: int, limit: int
) -> Iterator[tuple[str, ModuleKind, ModuleOptions]]:
    """Every kind at all layers, as large as the limit allows, where that is smaller than usual.

    Costs grow linearly with a kind's size, but for the adapter's output bias, which stays.
    """
    for kind in KINDS:
        share = limit / (costs[kind] * layers)
        if share < 1:
            yield f"small_{kind}", kind, _smaller(options, kind, share)


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


def _at(chosen: list[int] | range, kind: ModuleKind, layers: int) -> Layers:
    return tuple(kind if layer in chosen else None for layer in range(layers))
