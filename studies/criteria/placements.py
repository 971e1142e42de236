"""Where a few modules go: the rivals of a criterion's plan under a budget."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from fishpal.kinds import ModuleKind
from fishpal.options import AdapterOptions, LoraOptions, ModuleOptions, PrefixOptions
from studies.criteria.plans import KINDS, Layers

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
        if costs[kind] * layers <= limit:
            continue
        size = getattr(options, kind)
        if isinstance(size, LoraOptions):
            rank = size.rank * limit // (costs[kind] * layers)
            changed = (
                replace(size, rank=rank, alpha=size.alpha * rank / size.rank) if rank else size
            )
        elif isinstance(size, AdapterOptions):
            # 2db + b + d parameters: an upper bound of the share, lowered until it fits
            width = size.bottleneck * limit // (costs[kind] * layers) - 1
            changed = replace(size, bottleneck=max(width, 1))
        else:
            assert isinstance(size, PrefixOptions)
            changed = replace(size, length=max(size.length * limit // (costs[kind] * layers), 1))
        if changed != size:
            yield f"small_{kind}", kind, replace(options, **{kind.value: changed})


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
