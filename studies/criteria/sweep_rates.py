"""Stage: uniform plans of one task at several rates and lengths, seen on selection alone."""

from __future__ import annotations

from dataclasses import replace

from fishpal.common.kinds import ModuleKind
from fishpal.params.load import Params
from fishpal.params.options import LearningRates
from stages.runner import run
from studies.criteria.design.names import CELLS
from studies.criteria.design.plans import Layers
from studies.criteria.design.settings import Settings, load_settings
from studies.criteria.trainings.cells import Cell, encoder_facts, study_cell
from studies.criteria.trainings.pool import run_cells


def sweep_cells(params: Params, settings: Settings, task: str, layers: int) -> list[Cell]:
    """Every kind at every rate, then every kind at params.yaml's rate for every length."""
    study, sweep, rates = settings.study, settings.sweep, params.train.learning_rate
    tried: list[tuple[str, str, LearningRates, int]] = []
    for kind, values in sweep.rates.items():
        for value in values:
            name = f"{kind}_{value:g}".replace("-", "m").replace(".", "p")
            tried.append((name, kind, replace(rates, **{kind: value}), study.updates))
    for updates in sweep.updates:
        tried += [(f"{kind}_{updates}u", kind, rates, updates) for kind in sweep.rates]
    return [
        replace(
            study_cell(params, study, task, name, seed, _uniform(kind, layers)),
            size=sweep.size,
            learning_rate=tried_rates,
            updates=updates,
            score=False,
        )
        for seed in sweep.seeds
        for name, kind, tried_rates, updates in tried
    ]


def _uniform(kind: str, layers: int) -> Layers:
    return (None if kind == "head" else ModuleKind(kind),) * layers


def main(params: Params, task: str) -> None:
    params.task(task)
    layers = encoder_facts().layers
    cells = sweep_cells(params, load_settings(), task, layers)
    run_cells(cells, CELLS / "sweep" / task, f"sweep {task}")


if __name__ == "__main__":
    run(main, "task")
