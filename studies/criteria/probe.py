"""Stage: probe training, every candidate alone for a few real updates, as a rival score."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fishpal.params.load import Params
from stages.runner import run
from studies.criteria.analysis.table import LETTERS
from studies.criteria.design.names import CELLS, PROBE
from studies.criteria.design.plans import KINDS, Layers
from studies.criteria.design.settings import load_settings
from studies.criteria.trainings.cells import Cell, encoder_facts, study_cell
from studies.criteria.trainings.pool import run_cells


def probe_plans(layers: int) -> Iterator[tuple[str, Layers]]:
    """The head alone, and each kind at each layer alone."""
    empty: Layers = (None,) * layers
    yield "head", empty
    for layer in range(layers):
        for kind in KINDS:
            yield f"{LETTERS[kind]}{layer}", (*empty[:layer], kind, *empty[layer + 1 :])


def main(params: Params, task: str) -> None:
    params.task(task)
    settings, layers, cells = load_settings(), encoder_facts().layers, list[Cell]()
    batch = params.train.batch_size
    for size in dict.fromkeys(settings.probe_size(each, batch) for each in settings.study.sizes):
        for seed in settings.probe.seeds:
            cells += [
                replace(
                    study_cell(params, settings.study, task, f"{name}_{size}", seed, plan),
                    size=size,
                    updates=settings.probe.updates,
                    evaluations=1,
                    score=False,
                )
                for name, plan in probe_plans(layers)
            ]
    run_cells(cells, CELLS / PROBE / task, f"probe {task}")


if __name__ == "__main__":
    run(main, "task")
