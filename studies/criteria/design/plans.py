"""The plans that the study trains: the same ones, in the same order, for every task and size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from fishpal.common.kinds import ModuleKind
from studies.criteria.design.settings import Mixes, Study

Layers = tuple[ModuleKind | None, ...]
KINDS = tuple(ModuleKind)


def fixed_plans(study: Study, layers: int) -> dict[str, Layers]:
    """`head` (no modules), the uniform plans, the leads that fit the depth, the random mixes."""
    plans: dict[str, Layers] = {"head": (None,) * layers}
    plans |= {kind.value: (kind,) * layers for kind in KINDS}
    plans |= {name: plan for name, plan in study.leads.items() if len(plan) == layers}
    return plans | random_mixes(study.mixes, layers, plans)


def random_mixes(mixes: Mixes, layers: int, taken: Mapping[str, Layers]) -> dict[str, Layers]:
    """Distinct random plans of all three kinds' mixtures: `uniform_00`…, `stratified_00`…"""
    seen, found = set(taken.values()), dict[str, Layers]()
    for name, count, stream in (
        ("uniform", mixes.uniform, _uniform(mixes.seed, layers)),
        ("stratified", mixes.stratified, _stratified(mixes.seed, layers)),
    ):
        for number in range(count):
            plan = next(each for each in stream if each not in seen)
            seen.add(plan)
            found[f"{name}_{number:02d}"] = plan
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
