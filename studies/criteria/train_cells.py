"""Stage: train every fixed plan of one task and size with every seed."""

from __future__ import annotations

from pathlib import Path

from fishpal.config import Params
from fishpal.encoder import facts_of, load_encoder
from fishpal.errors import FishpalError
from stages.runner import ARTIFACTS, run
from studies.criteria.cells import Cell
from studies.criteria.plans import fixed_plans
from studies.criteria.pool import run_cells
from studies.criteria.settings import load_settings


def main(params: Params, task: str, size: str) -> None:
    params.task(task)
    study = load_settings().study
    if not size.isdecimal() or int(size) not in study.sizes:
        raise FishpalError(f"size is '{size}'; allowed: {', '.join(map(str, study.sizes))}")
    layers = facts_of(load_encoder(ARTIFACTS / "encoder")).layers
    cells = [
        Cell(
            task=task,
            size=int(size),
            name=name,
            seed=seed,
            layers=plan,
            modules=params.modules,
            learning_rate=params.train.learning_rate,
            updates=study.updates,
            evaluations=study.evaluations,
            protocol=study.protocol,
        )
        for seed in study.seeds
        for name, plan in fixed_plans(study, layers).items()
    ]
    run_cells(cells, Path("cells", "plans", task, size), f"{task} {size}")


if __name__ == "__main__":
    run(main, "task", "size")
