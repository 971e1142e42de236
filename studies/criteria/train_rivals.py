"""Stage: rivals that train, to score plans or kinds: successive halving, and probe training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fishpal.params.load import Params
from stages.runner import run
from studies.criteria.design.plans import KINDS, Choice, no_modules, uniform
from studies.criteria.design.settings import Settings, load_settings
from studies.criteria.trainings.cells import Cell, study_cells
from studies.criteria.trainings.inputs import prepare, study_encoder
from studies.criteria.trainings.pool import run_cells


def halving_cells(params: Params, settings: Settings, layers: int) -> Iterator[Cell]:
    """The uniform plans on a tenth of the budget, for successive halving among the kinds."""
    plans, seeds = [uniform(kind, layers) for kind in KINDS], settings.study.seeds
    for task in params.grid.tasks:
        for updates in settings.halving.rungs:
            size = updates * params.train.batch_size  # one pass over just so many examples
            columns = {"task": task, "size": size, "updates": updates}
            yield from study_cells(params, settings.study, plans, seeds=seeds, **columns)


def probe_cells(params: Params, settings: Settings, layers: int) -> Iterator[Cell]:
    """Every candidate alone for a few real updates."""
    plans, batch = list(probe_plans(layers)), params.train.batch_size
    sizes = [settings.probe_size(size, batch) for size in settings.study.sizes]
    for task in params.grid.tasks:
        for size in dict.fromkeys(sizes):
            columns = {"task": task, "size": size, "updates": settings.probe.updates}
            seeds = settings.probe.seeds
            yield from study_cells(params, settings.study, plans, seeds=seeds, **columns)


def probe_plans(layers: int) -> Iterator[Choice]:
    """The head alone, and each kind at each layer alone."""
    yield no_modules(layers)
    for layer in range(layers):
        for kind in KINDS:
            plan = tuple(kind if place == layer else None for place in range(layers))
            yield Choice({"rule": "alone", "kind": kind.value, "layer": layer}, plan)


def main(params: Params) -> None:
    settings = load_settings()
    prepare(params, params.grid.tasks)
    layers = study_encoder().facts.layers
    cells = {
        "halving": halving_cells(params, settings, layers),
        "probe": probe_cells(params, settings, layers),
    }
    groups = {
        group: [replace(cell, evaluations=1, score=False) for cell in found]
        for group, found in cells.items()
    }
    run_cells(groups, "rivals")


if __name__ == "__main__":
    run(main)
