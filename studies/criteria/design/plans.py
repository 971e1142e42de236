"""The plans that the study trains: the same ones, in the same order, for every task and size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fishpal.common.kinds import ModuleKind
from fishpal.params.module_options import ModuleOptions
from studies.criteria.design.settings import Mixes, Study

Layers = tuple[ModuleKind | None, ...]
KINDS = (ModuleKind.PREFIX, ModuleKind.ADAPTER, ModuleKind.LORA)
"""Of this study, whatever kinds the library learns: more kinds would make other mixes."""


@dataclass(frozen=True)
class Choice:
    """A plan, and the columns that say how it came about (`names.COLUMNS`).

    Attributes:
        modules: sizes of the kinds where they are not params.yaml's.
    """

    columns: dict[str, Any]
    layers: Layers
    modules: ModuleOptions | None = None


def no_modules(layers: int) -> Choice:
    """The head alone."""
    return Choice({"rule": "none"}, (None,) * layers)


def uniform(kind: ModuleKind, layers: int) -> Choice:
    """One kind at every layer."""
    return Choice({"rule": "uniform", "kind": kind.value}, (kind,) * layers)


def fixed_plans(study: Study, layers: int) -> list[Choice]:
    """No modules, the uniform plans, the leads that fit the depth, the random mixes."""
    plans = [no_modules(layers), *(uniform(kind, layers) for kind in KINDS)]
    plans += [
        Choice({"rule": "lead", "name": name}, plan)
        for name, plan in study.leads.items()
        if len(plan) == layers
    ]
    return plans + random_mixes(study.mixes, layers, [plan.layers for plan in plans])


def random_mixes(mixes: Mixes, layers: int, taken: Sequence[Layers]) -> list[Choice]:
    """Distinct random plans of all three kinds' mixtures, `drawn` uniform or stratified."""
    seen, found = set(taken), list[Choice]()
    for drawn, count, stream in (
        ("uniform", mixes.uniform, _uniform(mixes.seed, layers)),
        ("stratified", mixes.stratified, _stratified(mixes.seed, layers)),
    ):
        for draw in range(count):
            plan = next(each for each in stream if each not in seen)
            seen.add(plan)
            found.append(Choice({"rule": "mix", "drawn": drawn, "draw": draw}, plan))
    return found


def _uniform(seed: int, layers: int) -> Iterator[Layers]:
    rng = np.random.default_rng([seed, 0])
    while True:
        yield tuple(KINDS[i] for i in rng.integers(len(KINDS), size=layers))


def _stratified(seed: int, layers: int) -> Iterator[Layers]:
    """All splits of the layers among the kinds alike: stars and bars, then a random order."""
    rng = np.random.default_rng([seed, 1])
    while True:
        bars = np.sort(rng.choice(layers + len(KINDS) - 1, size=len(KINDS) - 1, replace=False))
        edges = np.concatenate([[-1], bars, [layers + len(KINDS) - 1]])
        counts = np.diff(edges) - 1
        kinds = np.repeat(np.arange(len(KINDS)), counts)
        yield tuple(KINDS[i] for i in rng.permutation(kinds))
