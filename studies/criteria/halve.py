"""Stage: the uniform plans on a tenth of the budget, for successive halving among the kinds."""

from __future__ import annotations

from dataclasses import replace

from fishpal.common.kinds import ModuleKind
from fishpal.params.load import Params
from stages.runner import run
from studies.criteria.design.names import CELLS
from studies.criteria.design.settings import load_settings
from studies.criteria.trainings.cells import encoder_facts, study_cell
from studies.criteria.trainings.pool import run_cells


def main(params: Params, task: str) -> None:
    params.task(task)
    settings = load_settings()
    layers = encoder_facts().layers
    cells = [
        replace(
            study_cell(params, settings.study, task, f"{kind}_{updates}u", seed, (kind,) * layers),
            size=updates * params.train.batch_size,  # one pass over just so many examples
            updates=updates,
            evaluations=1,
            score=False,
        )
        for seed in settings.study.seeds
        for updates in settings.halving.rungs
        for kind in ModuleKind
    ]
    run_cells(cells, CELLS / "halving" / task, f"halving {task}")


if __name__ == "__main__":
    run(main, "task")
