"""Stage: train all plans that are scored: the fixed ones, those under a budget, the chosen ones."""

from __future__ import annotations

from fishpal.common.kinds import ModuleKind
from fishpal.params.load import Params
from stages.runner import run
from studies.criteria.design.placements import budget_plans
from studies.criteria.design.plans import Choice, fixed_plans
from studies.criteria.design.settings import Settings, load_settings
from studies.criteria.trainings.cells import Cell, study_cells
from studies.criteria.trainings.inputs import module_costs, prepare, study_encoder
from studies.criteria.trainings.pool import run_cells
from studies.criteria.trainings.store import read_lines

CHOSEN = ("rule", "share", "top_layers")


def all_cells(params: Params, settings: Settings) -> dict[str, list[Cell]]:
    """Group → its cells: fixed plans at every size, the others at the first."""
    study, layers = settings.study, study_encoder().facts.layers
    fixed = fixed_plans(study, layers)
    budget = list(budget_plans(settings.budget, params.modules, module_costs(), layers))
    found: dict[str, list[Cell]] = {"plans": [], "budget": [], "chosen": []}
    for task in params.grid.tasks:
        for size in study.sizes:
            found["plans"] += study_cells(
                params, study, fixed, seeds=study.seeds, task=task, size=size
            )
        for group, plans in (("budget", budget), ("chosen", chosen_plans(task))):
            found[group] += study_cells(params, study, plans, seeds=study.seeds, task=task)
    return found


def chosen_plans(task: str) -> list[Choice]:
    """What the stage `measure` chose for a task."""
    return [
        Choice(
            {name: line[name] for name in CHOSEN if name in line},
            tuple(None if kind is None else ModuleKind(kind) for kind in line["layers"]),
        )
        for line in read_lines("selected")
        if line["task"] == task
    ]


def main(params: Params) -> None:
    prepare(params, params.grid.tasks)
    run_cells(all_cells(params, load_settings()), "plans", predicted=True)


if __name__ == "__main__":
    run(main)
