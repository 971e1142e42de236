"""Stage: what Fisher information says of plans before any is trained.

Which plans `select.criterion` picks out of all plans, and what every criterion says of every fixed
plan, under many ways of measuring.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tqdm import tqdm

from fishpal.common.kinds import CriterionName, Estimator, FisherMode, HeadInit
from fishpal.params.load import Params
from fishpal.params.methods import HeadOnly
from fishpal.params.options import SelectOptions
from stages.runner import run
from studies.criteria.design.names import EXAMPLES, SEEDS, base, measured_by, word
from studies.criteria.design.placements import kept
from studies.criteria.design.plans import Choice, fixed_plans
from studies.criteria.design.settings import Chosen, Settings, Study, load_settings
from studies.criteria.trainings.inputs import module_costs, prepare, study_encoder
from studies.criteria.trainings.keys import key_of
from studies.criteria.trainings.measure import choose, measure, measured_parts
from studies.criteria.trainings.provenance import provenance
from studies.criteria.trainings.scores import scorers, totals, transformed
from studies.criteria.trainings.store import Wanted, gather, keep, missing


def repeated(params: Params) -> Iterator[Params]:
    """Every number of examples and seed: how stable and how dear."""
    for examples in EXAMPLES:
        for seed in SEEDS:
            yield replace(params, fisher=replace(params.fisher, examples=examples, seed=seed))


def ablated(params: Params) -> Iterator[Params]:
    """One thing of `names.base` changed at a time."""
    usual = base(params)
    fisher = replace(params.fisher, examples=usual["examples"], seed=usual["seed"])
    params = replace(params, fisher=fisher)
    yield replace(params, head=replace(params.head, init=HeadInit.PROBE))
    yield replace(params, fisher=replace(fisher, mode=FisherMode.JOINT))
    # Without what the grid's methods ask of the table: nothing is chosen for them here.
    grid = replace(params.grid, methods=("head",))
    alone = replace(params, grid=grid, methods={"head": HeadOnly()})
    yield replace(alone, fisher=replace(fisher, estimator=Estimator.EXACT))
    yield replace(params, fisher=replace(fisher, dropout=True))
    prefixes: list[dict[str, Any]] = [{"reparameterize": True}, {"std": 0.2}, {"std": 2.0}]
    for change in prefixes:
        prefix = replace(params.modules.prefix, **change)
        yield replace(params, modules=replace(params.modules, prefix=prefix))


@dataclass(frozen=True)
class Job:
    """One measurement; `choose`: also choose a plan by every criterion."""

    wanted: Wanted
    params: Params
    choose: bool


def all_jobs(params: Params, study: Study, plans: Sequence[Choice]) -> Iterator[Job]:
    """Every task, size and way of measuring."""
    for task in params.grid.tasks:
        for size in study.sizes:
            for ways, chosen in ((repeated(params), True), (ablated(params), False)):
                for way in ways:
                    columns = {"task": task, "size": size} | measured_by(way)
                    parts = {"protocol": study.protocol} | measured_parts(way, task, size)
                    parts["plans"] = [word(plan.layers) for plan in plans]
                    yield Job(Wanted(columns, key_of(parts)), way, chosen)


def signal(job: Job, plans: Sequence[Choice]) -> dict[str, Any]:
    """Scores of all plans by all criteria, what each would choose, and the seconds of it."""
    params, layers = job.params, [plan.layers for plan in plans]
    start = time.perf_counter()
    table, grams = measure(params, job.wanted.columns["task"], job.wanted.columns["size"])
    measured = time.perf_counter() - start
    rates = params.train.learning_rate.fixed()
    named = scorers(table, grams, rates) | transformed(table, rates)
    chosen, took = dict[str, str](), dict[str, float]()
    for criterion in CriterionName if job.choose else ():
        begin = time.perf_counter()
        options = replace(params.select, criterion=criterion)
        chosen[criterion] = word(choose(table, grams, params, options))
        took[criterion] = round(time.perf_counter() - begin, 2)
    return {
        "plans": [word(plan) for plan in layers],
        "scores": {name: totals(scorer, layers) for name, scorer in named.items()},
        "chosen": chosen,
        "measure": round(measured, 2),
        "select": took,
    }


def limits(way: Chosen, params: Params, settings: Settings) -> SelectOptions:
    """params.yaml's options with one way's limits."""
    options = replace(params.select, top_layers=way.top_layers)
    if way.share is None:
        return options
    facts = study_encoder().facts
    # half a parameter more: the limit is rounded down again
    limit = kept(settings.budget, way.share, module_costs(), facts.layers) + 0.5
    return replace(options, allow_none=True, budget=limit / facts.parameters)


def select_plans(params: Params, settings: Settings) -> None:
    """Choose among all plans of every task, at the study's first size."""
    size, wanted = settings.study.sizes[0], list[Wanted]()
    for task in params.grid.tasks:
        ways = dict[Wanted, SelectOptions]()
        for way in settings.chosen:
            options = limits(way, params, settings)
            parts = measured_parts(replace(params, select=options), task, size)
            parts["protocol"] = settings.study.protocol
            ways[Wanted({"task": task, "size": size} | way.columns, key_of(parts))] = options
        wanted += ways
        todo = missing("selected", list(ways))
        if todo:
            table, grams = measure(params, task, size)
        for each in todo:
            layers = choose(table, grams, params, ways[each])
            found = {"criterion": ways[each].criterion, "layers": list(layers)}
            keep("selected", each, found | provenance("selected"))
    gather({"selected": wanted})


def measure_signals(params: Params, study: Study) -> None:
    """Measure in every way, on every task and size."""
    plans = fixed_plans(study, study_encoder().facts.layers)
    jobs = {job.wanted: job for job in all_jobs(params, study, plans)}
    for each in tqdm(missing("signals", list(jobs)), "signals", disable=None):
        keep("signals", each, signal(jobs[each], plans) | provenance("signals"))
    gather({"signals": list(jobs)})


def main(params: Params) -> None:
    settings = load_settings()
    prepare(params, params.grid.tasks)
    select_plans(params, settings)
    measure_signals(params, settings.study)


if __name__ == "__main__":
    run(main)
