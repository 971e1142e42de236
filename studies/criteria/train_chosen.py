"""Stage: train the plans that `select.criterion` picks for one task out of all plans."""

from __future__ import annotations

from dataclasses import replace

from fishpal.params.load import Params
from fishpal.params.methods import ByCriterion
from fishpal.selection.methods import select_plan
from stages.runner import run
from studies.criteria.design.names import CELLS
from studies.criteria.design.plans import Layers
from studies.criteria.design.settings import Settings, load_settings
from studies.criteria.signals import measure
from studies.criteria.train_budget import module_costs
from studies.criteria.trainings.cells import study_cell
from studies.criteria.trainings.pool import run_cells


def chosen_plans(params: Params, settings: Settings, task: str) -> dict[str, Layers]:
    """Name → the plan of the highest score within the limits."""
    table, grams = measure(params, task, settings.study.sizes[0])
    method, rates = ByCriterion(), params.train.learning_rate
    facts = table.encoder
    full = module_costs(facts.hidden, params.modules)[settings.budget.full] * facts.layers
    found: dict[str, Layers] = {}
    for name, way in settings.chosen.items():
        options = replace(params.select, top_layers=way.top_layers)
        if way.share is not None:
            # half a parameter more: the limit is rounded down again
            budget = (int(way.share * full) + 0.5) / facts.parameters
            options = replace(options, allow_none=True, budget=budget)
        found[name] = select_plan(table, grams, name, method, options, rates).layers
    return found


def main(params: Params, task: str) -> None:
    params.task(task)
    settings = load_settings()
    cells = [
        study_cell(params, settings.study, task, name, seed, plan)
        for seed in settings.study.seeds
        for name, plan in chosen_plans(params, settings, task).items()
    ]
    run_cells(cells, CELLS / "chosen" / task, f"chosen {task}")


if __name__ == "__main__":
    run(main, "task")
