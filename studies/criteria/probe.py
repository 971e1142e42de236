"""Stage: probe training, every candidate alone for a few real updates, as a rival score."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fishpal.params.load import Params
from stages.runner import run
from studies.criteria.design.plans import KINDS, Choice, no_modules
from studies.criteria.design.settings import load_settings
from studies.criteria.trainings.cells import study_cells
from studies.criteria.trainings.inputs import prepare, study_encoder
from studies.criteria.trainings.pool import run_cells


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
    sizes = [settings.probe_size(size, params.train.batch_size) for size in settings.study.sizes]
    plans = list(probe_plans(study_encoder().facts.layers))
    cells = [
        replace(cell, evaluations=1, score=False)
        for task in params.grid.tasks
        for size in dict.fromkeys(sizes)
        for cell in study_cells(
            params,
            settings.study,
            plans,
            seeds=settings.probe.seeds,
            task=task,
            size=size,
            updates=settings.probe.updates,
        )
    ]
    run_cells({"probe": cells}, "probe")


if __name__ == "__main__":
    run(main)
