"""Stage: uniform plans of some tasks at several rates and lengths, seen on selection alone.

What `train.learning_rate` rests on (protocol, design §7.2). Other tasks or rates: `sweep` in
study.yaml.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fishpal.common.kinds import ModuleKind
from fishpal.params.load import Params
from stages.runner import run
from studies.criteria.design.plans import no_modules, uniform
from studies.criteria.design.settings import Settings, load_settings
from studies.criteria.trainings.cells import Cell, study_cells
from studies.criteria.trainings.inputs import prepare, study_encoder
from studies.criteria.trainings.pool import run_cells


def sweep_cells(params: Params, settings: Settings, layers: int) -> Iterator[Cell]:
    """Every kind at every rate, then every kind at params.yaml's rate for every length."""
    sweep, usual = settings.sweep, params.train.learning_rate.fixed()
    for task in sweep.tasks:
        for kind, values in sweep.rates.items():
            plan = no_modules(layers) if kind == "head" else uniform(ModuleKind(kind), layers)
            own = getattr(usual, kind)
            tried = [(value, settings.study.updates) for value in values]
            for rate, updates in tried + [(own, updates) for updates in sweep.updates]:
                for cell in study_cells(
                    params,
                    settings.study,
                    [plan],
                    seeds=sweep.seeds,
                    task=task,
                    size=sweep.size,
                    rate=rate,
                    updates=updates,
                ):
                    yield replace(cell, rates=replace(usual, **{kind: rate}), score=False)


def main(params: Params) -> None:
    settings = load_settings()
    prepare(params, settings.sweep.tasks)
    cells = list(sweep_cells(params, settings, study_encoder().facts.layers))
    run_cells({"sweep": cells}, "sweep")


if __name__ == "__main__":
    run(main)
