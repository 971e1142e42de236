"""Trainings of the study, kept line by line: a run goes on where it was."""

from collections.abc import Sequence
from functools import cache

import numpy as np

from fishpal.api.task import Task
from fishpal.params.module_options import ModuleOptions
from fishpal.params.options import LearningRates, TrainOptions
from fishpal.records.plan import Plan, Reason
from fishpal.selection.rates import LAWS
from studies.cells.sources import drawn_task, project_encoder
from studies.cells.store import Line, Store
from studies.cells.trainings import fixed_length, outwards, train_cell
from studies.criteria.design.plans import KINDS, Layers
from studies.regime.plans import small_plans, whole_plans
from studies.regime.settings import ROOM, Settings, load_settings

TRAINED = Store(ROOM / "results" / "trained.jsonl")


@cache
def task_of(name: str) -> tuple[Task, Task]:
    """Train and evaluation rows."""
    settings = load_settings()
    return drawn_task(name, settings.tasks[name], settings.rows)


def training(settings: Settings) -> TrainOptions:
    """The project's, of the study's length."""
    looks, fit = settings.looks, settings.rows.fit
    return fixed_length(settings.updates, settings.batch_size, looks, fit)


def usual_rate(kind: str, updates: int) -> float:
    """A kind's at this length (`fishpal.selection.rates`)."""
    law = LAWS[kind]
    return law.usual * law.by_length(updates)


def run_training(
    settings: Settings, columns: Line, layers: Layers, modules: ModuleOptions, rates: LearningRates
) -> None:
    """Train one cell, unless it is there, and keep its line."""
    if TRAINED.find(**columns):
        return
    encoder = project_encoder()
    plan = Plan(
        columns["task"],
        columns["plan"],
        encoder.facts,
        layers,
        Reason("uniform"),
        modules=modules,
        learning_rate=rates,
    )
    used = {kind: getattr(rates, kind) for kind in plan.kinds}
    found = train_cell(encoder, task_of(columns["task"]), plan, columns["seed"], training(settings))
    TRAINED.add(columns | {"layers": layers, "rates": used} | found)


def sweep(settings: Settings, task: str) -> dict[str, float]:
    """The best rate of every kind by the first seed, tried outwards from the usual one."""
    best: dict[str, float] = {}
    for kind in KINDS:
        usual, layers = usual_rate(kind, settings.updates), (kind,) * project_encoder().facts.layers
        columns = {"task": task, "plan": str(kind), "seed": settings.seeds[0]}

        def best_of_them(tried: Sequence[float], columns: Line = columns) -> float:
            lines = [line for line in TRAINED.find(**columns) if line["rate"] in tried]
            return float(best_of(lines)["rate"])

        rates = [float(f"{usual * factor:.3g}") for factor in settings.factors]
        for rate in outwards(rates, best_of_them):
            own = LearningRates(**{kind: rate})
            run_training(settings, columns | {"rate": rate}, layers, ModuleOptions(), own)
        best[kind] = best_of_them(rates)
    return best


def best_of(lines: Sequence[Line]) -> Line:
    """Of the lowest selection loss, the first of equals; diverged ones lose."""
    return min(lines, key=lambda line: line.get("selection_loss", np.inf))


def run_plans(settings: Settings, task: str, seed: int, rates: LearningRates) -> None:
    """Every plan of one seed, each kind at its best rate."""
    depth = project_encoder().facts.layers
    whole = whole_plans(settings, depth).items()
    plans = {name: (layers, ModuleOptions()) for name, layers in whole}
    for name, (layers, modules) in (plans | small_plans(settings, depth)).items():
        rate = getattr(rates, name) if name in KINDS else None  # as the sweep names them
        columns = {"task": task, "plan": name, "seed": seed, "rate": rate}
        run_training(settings, columns, layers, modules, rates)
