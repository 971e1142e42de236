"""Stage: what every criterion says of every plan, under many ways of measuring."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tqdm import tqdm

from fishpal.common.kinds import Estimator, FisherMode, HeadInit
from fishpal.params.load import Params
from fishpal.selection.criteria import CRITERIA
from stages.runner import run
from studies.criteria.design.names import EXAMPLES, SEEDS, base, measured_by, word
from studies.criteria.design.plans import Choice, fixed_plans
from studies.criteria.design.settings import Study, load_settings
from studies.criteria.trainings.inputs import prepare, study_encoder
from studies.criteria.trainings.keys import key_of
from studies.criteria.trainings.measure import choose, measure, measured_parts
from studies.criteria.trainings.provenance import provenance
from studies.criteria.trainings.scores import scorers, totals, transformed
from studies.criteria.trainings.store import Wanted, gather, keep, missing

GROUP = "signals"


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
    yield replace(params, fisher=replace(fisher, estimator=Estimator.EXACT))
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
    rates = params.train.learning_rate
    named = scorers(table, grams, rates) | transformed(table, rates)
    chosen, took = dict[str, str](), dict[str, float]()
    for criterion in CRITERIA if job.choose else ():
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


def main(params: Params) -> None:
    study = load_settings().study
    prepare(params, params.grid.tasks)
    plans = fixed_plans(study, study_encoder().facts.layers)
    jobs = list(all_jobs(params, study, plans))
    todo = {id(each) for each in missing(GROUP, [job.wanted for job in jobs])}
    for job in tqdm([job for job in jobs if id(job.wanted) in todo], GROUP, disable=None):
        keep(GROUP, job.wanted, signal(job, plans) | provenance(GROUP))
    gather({GROUP: [job.wanted for job in jobs]})


if __name__ == "__main__":
    run(main)
