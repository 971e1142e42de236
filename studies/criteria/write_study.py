"""Stage: the study's report from cells and signals."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fishpal.common.files import read_json, write_text
from fishpal.common.kinds import CriterionName
from fishpal.params.load import Params
from stages.runner import run
from studies.criteria.analysis.scoring import probe_totals
from studies.criteria.analysis.table import COLUMNS, read_cells, trained, unpack
from studies.criteria.analysis.verdicts import BLEND, PLACEMENT, Case, all_scores, case
from studies.criteria.design.names import BASE, PROBE, SIGNALS
from studies.criteria.design.settings import Settings, load_settings
from studies.criteria.report import budget_sections, pictures, sections

CRITERIA = tuple(each.value for each in CriterionName)

REPORTS = Path("..", "..", "reports")
FIGURES = REPORTS / "study"
RANDOM = "random score"
LEARNT = (PLACEMENT, BLEND)
PROBED = "probe training"


def main(params: Params) -> None:
    settings = load_settings()
    frame = read_cells("plans")
    cases = [
        case(task, size, trained(frame, task, size), read_json(SIGNALS / task / f"{size}.json"))
        for task in params.grid.tasks
        for size in settings.study.sizes
    ]
    scores = all_scores(cases)
    for number, own in enumerate(scores):
        own[RANDOM] = np.random.default_rng(number).random(len(own[PLACEMENT]))
        size = settings.probe_size(cases[number].size, params.train.batch_size)
        probed = read_cells(f"{PROBE}/{cases[number].task}")
        own[PROBED] = probe_totals(probed, size, cases[number].trained.layers)
    frame[COLUMNS].to_csv("results.csv", index=False, lineterminator="\n")
    text = _report(params, settings, frame, cases, scores)
    write_text(REPORTS / "study.md", text)


def _report(
    params: Params, settings: Settings, frame: pd.DataFrame, cases: list[Case], scores: Any
) -> str:
    names = [*CRITERIA, *LEARNT, PROBED, RANDOM]
    small = [each for each in cases if each.size == settings.study.sizes[0]]
    labels = {case.task: unpack(case.signals["labels"]) for case in cases}
    winner, metric = params.select.criterion, params.task(cases[0].task).metrics[0]
    budget = [_budget(case.task, case.size) for case in small]
    pictures.draw_spread(FIGURES / "plans.png", small)
    pictures.draw_correlations(FIGURES / "criteria.png", cases, scores, names)
    main_size = settings.study.sizes[0]
    first = [own for c, own in zip(cases, scores, strict=True) if c.size == main_size]
    pictures.draw_winner(FIGURES / "default.png", small, first, winner)
    pictures.draw_budget(FIGURES / "budget.png", small, budget, settings.chosen)
    rates = asdict(params.train.learning_rate)
    sweep = sections.sweep_table(read_cells("sweep"), rates, settings.study.updates)
    parts = {
        "conclusion": Path("conclusion.md").read_text(encoding="utf-8").strip(),
        "run": sections.what_was_run(frame, cases),
        "sweep": sweep,
        "spread": sections.spread_table(cases),
        "criteria": sections.criteria_tables(cases, scores, names),
        "loto": sections.leave_one_out_table(cases, CRITERIA),
        "chosen": budget_sections.uniform_table(cases, scores, winner, labels, metric),
        "rivals": budget_sections.rivals_table(small, read_cells("halving")),
        "ablation": sections.ablation_table(small),
        "stability": sections.stability_table(small, CRITERIA),
        "cost": sections.cost_table(small, winner),
        "probe_updates": str(settings.probe.updates),
        "probe_cost": sections.probe_cost(small, settings, params.train.batch_size),
        "budget": budget_sections.budget_tables(
            small, budget, labels, metric, settings.budget.shares
        ),
        "winner": winner,
        "size": f"{settings.study.sizes[0]:,}",
        "batch": str(params.train.batch_size),
        "evaluations": str(settings.study.evaluations),
        "updates": str(settings.study.updates),
        "sweep_seeds": str(len(settings.sweep.seeds)),
        "base": BASE,
    }
    template = Path("report.md").read_text(encoding="utf-8")
    for key, value in parts.items():
        template = template.replace("{{" + key + "}}", value)
    return template


def _budget(task: str, size: int) -> Any:
    """The plans under the budget and the chosen ones of one task as one."""
    both = pd.concat([read_cells(f"budget/{task}"), read_cells(f"chosen/{task}")])
    return trained(both, task, size)


if __name__ == "__main__":
    run(main)
