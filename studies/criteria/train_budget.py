"""Stage: plans that keep a share of the full plan's parameters, on the study's first size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fishpal.common.kinds import ModuleKind
from fishpal.modules import CandidateModule
from fishpal.modules.attach import build_module
from fishpal.params.load import Params
from fishpal.params.options import ModuleOptions
from stages.runner import run
from studies.criteria.design.names import CELLS, share_mark
from studies.criteria.design.placements import Costs, placements, small
from studies.criteria.design.plans import KINDS, Layers
from studies.criteria.design.settings import Settings, load_settings
from studies.criteria.trainings.cells import encoder_facts, study_cell
from studies.criteria.trainings.pool import run_cells

Named = tuple[str, Layers, ModuleOptions]


def module_costs(hidden: int, options: ModuleOptions) -> Costs:
    """Parameters that one module of each kind keeps."""

    def built(kind: ModuleKind) -> CandidateModule:
        return build_module(kind, 0, hidden, options, 0)

    return {kind: built(kind).kept_parameters for kind in KINDS}


def budget_plans(params: Params, settings: Settings, hidden: int, layers: int) -> Iterator[Named]:
    """For every share: random, top, bottom and spread placements, and smaller modules."""
    costs = module_costs(hidden, params.modules)
    full = costs[settings.budget.full] * layers
    for share in settings.budget.shares:
        limit, mark = int(share * full), share_mark(share)
        found = placements(costs, layers, limit, settings.budget.draws)
        yield from ((f"{mark}_{name}", plan, params.modules) for name, plan in found.items())
        for name, kind, options in small(params.modules, costs, layers, limit):
            yield f"{mark}_{name}", (kind,) * layers, options


def main(params: Params, task: str) -> None:
    params.task(task)
    settings = load_settings()
    study, facts = settings.study, encoder_facts()
    cells = [
        replace(study_cell(params, study, task, name, seed, plan), modules=modules)
        for seed in study.seeds
        for name, plan, modules in budget_plans(params, settings, facts.hidden, facts.layers)
    ]
    run_cells(cells, CELLS / "budget" / task, f"budget {task}")


if __name__ == "__main__":
    run(main, "task")
