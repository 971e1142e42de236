"""Stage: what every criterion says of every plan of one task, under many ways of measuring."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import torch
from tqdm import tqdm

from fishpal.common.files import write_json
from fishpal.common.kinds import CriterionName, Estimator, FisherMode, HeadInit
from fishpal.encoders.encoder import load_encoder
from fishpal.encoders.pooling import load_pooling
from fishpal.fisher.engine import measure_fisher
from fishpal.models.head import start_head
from fishpal.params.load import Params
from fishpal.params.methods import ByCriterion
from fishpal.records.fisher_table import FisherTable
from fishpal.records.grams import Grams
from fishpal.selection.methods import select_plan
from stages.runner import ARTIFACTS, run
from studies.criteria.analysis.scoring import scorers, totals, transformed
from studies.criteria.analysis.table import word
from studies.criteria.design.names import BASE, EXAMPLES, SEEDS, SIGNALS
from studies.criteria.design.plans import fixed_plans
from studies.criteria.design.settings import load_settings
from studies.criteria.trainings.cells import encoder_facts, load_data, pack


def configurations(params: Params) -> dict[str, Params]:
    """Name → params that differ from `BASE`'s in one thing."""
    fisher, modules, head = params.fisher, params.modules, params.head
    found = {
        f"n{n}_s{seed}": replace(params, fisher=replace(fisher, examples=n, seed=seed))
        for n in EXAMPLES
        for seed in SEEDS
    }
    base = found[BASE]
    fisher = base.fisher
    changes: dict[str, dict[str, Any]] = {
        "probe": {"head": replace(head, init=HeadInit.PROBE)},
        "joint": {"fisher": replace(fisher, mode=FisherMode.JOINT)},
        "exact": {"fisher": replace(fisher, estimator=Estimator.EXACT)},
        "dropout": {"fisher": replace(fisher, dropout=True)},
    }
    prefixes: dict[str, dict[str, Any]] = {
        "mlp": {"reparameterize": True},
        "std_0p2": {"std": 0.2},
        "std_2": {"std": 2.0},
    }
    for name, change in prefixes.items():
        changed = replace(modules, prefix=replace(modules.prefix, **change))
        changes[f"prefix_{name}"] = {"modules": changed}
    return found | {name: replace(base, **change) for name, change in changes.items()}


def measure(params: Params, task: str, size: int) -> tuple[FisherTable, Grams]:
    """On one thread, as cells are trained: so seconds compare, and cores change no digit."""
    torch.set_num_threads(1)
    data = load_data(task, size)
    encoder, pooling = load_encoder(ARTIFACTS.encoder), load_pooling(ARTIFACTS.encoder)
    head = start_head(encoder, pooling, data.facts, data.fit, params.head)
    return measure_fisher(
        encoder,
        head,
        data.fit,
        data.facts,
        params.modules,
        params.fisher,
        pooling=pooling,
        head_options=params.head,
        progress=False,
    )


def main(params: Params, task: str, size: str) -> None:
    params.task(task)
    plans = fixed_plans(load_settings().study, encoder_facts().layers)
    rates = params.train.learning_rate
    labels = [example.label for example in load_data(task, int(size)).evaluation]
    scores: dict[str, Any] = {
        "labels": pack(labels),
        "plans": {name: word(plan) for name, plan in plans.items()},
    }
    seconds: dict[str, Any] = {}
    for name, chosen in tqdm(configurations(params).items(), f"signals {task}", disable=None):
        start = time.perf_counter()
        table, grams = measure(chosen, task, int(size))
        measured = time.perf_counter()
        named = scorers(table, grams, rates) | transformed(table, rates)
        found = {key: totals(scorer, list(plans.values())) for key, scorer in named.items()}
        best, took = {}, {}
        for criterion in CriterionName if name.startswith("n") else ():  # for stability and cost
            begin = time.perf_counter()
            best[criterion] = word(_chosen(table, grams, criterion, params).layers)
            took[criterion] = round(time.perf_counter() - begin, 2)
        scores[name] = {"scores": found, "chosen": best}
        seconds[name] = {"measure": round(measured - start, 2), "select": took}
    write_json(SIGNALS / task / f"{size}.json", scores)
    write_json(SIGNALS / task / f"{size}_seconds.json", seconds)


def _chosen(table: FisherTable, grams: Grams, criterion: CriterionName, params: Params) -> Any:
    method = ByCriterion(criterion=criterion)
    rates = params.train.learning_rate
    return select_plan(table, grams, criterion, method, params.select, rates)


if __name__ == "__main__":
    run(main, "task", "size")
