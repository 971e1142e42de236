"""Stage: the uniform plans on a tenth of the budget, for successive halving among the kinds."""

from __future__ import annotations

from dataclasses import replace

from fishpal.params.load import Params
from stages.runner import run
from studies.criteria.design.plans import KINDS, uniform
from studies.criteria.design.settings import load_settings
from studies.criteria.trainings.cells import study_cells
from studies.criteria.trainings.inputs import prepare, study_encoder
from studies.criteria.trainings.pool import run_cells


def main(params: Params) -> None:
    settings = load_settings()
    prepare(params, params.grid.tasks)
    plans = [uniform(kind, study_encoder().facts.layers) for kind in KINDS]
    cells = [
        replace(cell, evaluations=1, score=False)
        for task in params.grid.tasks
        for updates in settings.halving.rungs
        for cell in study_cells(
            params,
            settings.study,
            plans,
            seeds=settings.study.seeds,
            task=task,
            size=updates * params.train.batch_size,  # one pass over just so many examples
            updates=updates,
        )
    ]
    run_cells({"halving": cells}, "halving")


if __name__ == "__main__":
    run(main)
