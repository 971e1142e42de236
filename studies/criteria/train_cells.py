"""Stage: train every fixed plan of one task and size with every seed."""

from __future__ import annotations

from dataclasses import replace

from fishpal.common.errors import FishpalError
from fishpal.params.load import Params
from stages.runner import run
from studies.criteria.design.names import CELLS
from studies.criteria.design.plans import fixed_plans
from studies.criteria.design.settings import load_settings
from studies.criteria.trainings.cells import encoder_facts, study_cell
from studies.criteria.trainings.pool import run_cells


def main(params: Params, task: str, size: str) -> None:
    params.task(task)
    study = load_settings().study
    if not size.isdecimal() or int(size) not in study.sizes:
        raise FishpalError(f"size is '{size}'; allowed: {', '.join(map(str, study.sizes))}")
    layers = encoder_facts().layers
    cells = [
        replace(study_cell(params, study, task, name, seed, plan), size=int(size))
        for seed in study.seeds
        for name, plan in fixed_plans(study, layers).items()
    ]
    run_cells(cells, CELLS / "plans" / task / size, f"{task} {size}")


if __name__ == "__main__":
    run(main, "task", "size")
