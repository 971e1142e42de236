"""Stage: train every fixed plan of one task and size with every seed."""

from __future__ import annotations

from dataclasses import replace

from fishpal.config import Params
from fishpal.errors import FishpalError
from stages.runner import run
from studies.criteria.cells import encoder_facts, study_cell
from studies.criteria.names import CELLS
from studies.criteria.plans import fixed_plans
from studies.criteria.pool import run_cells
from studies.criteria.settings import load_settings


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
