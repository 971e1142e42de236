"""Stage: the study's report from its store."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fishpal.common.files import write_text
from fishpal.common.kinds import CriterionName
from fishpal.params.load import Params
from stages.runner import run
from studies.criteria.analysis.table import read_cells, trained, unpack
from studies.criteria.analysis.verdicts import (
    BLEND,
    PLACEMENT,
    Case,
    all_scores,
    case,
    probe_totals,
)
from studies.criteria.design.names import base
from studies.criteria.design.settings import Settings, load_settings
from studies.criteria.report import budget_sections, pictures, sections
from studies.criteria.report.warnings import warnings
from studies.criteria.trainings.store import read_lines

REPORTS = Path("..", "..", "reports")
FIGURES = REPORTS / "study"
TEXTS = Path("report")
RANDOM = "random score"
LEARNT = (PLACEMENT, BLEND)
PROBED = "probe training"

CRITERIA = tuple(CriterionName)


def main(params: Params) -> None:
    settings, signals = load_settings(), read_lines("signals")
    frame, probed = read_cells("plans", predicted=True), read_cells("probe")
    cases = [
        case(trained(frame, task, size), signals, base(params))
        for task in params.grid.tasks
        for size in settings.study.sizes
    ]
    scores = all_scores(cases)
    for number, (each, own) in enumerate(zip(cases, scores, strict=True)):
        own[RANDOM] = np.random.default_rng(number).random(len(own[PLACEMENT]))
        size = settings.probe_size(each.size, params.train.batch_size)
        own[PROBED] = probe_totals(probed[probed.task == each.task], size, each.trained.layers)
    text = _report(params, settings, frame, cases, scores)
    write_text(REPORTS / "study.md", text)


def _report(
    params: Params, settings: Settings, frame: pd.DataFrame, cases: list[Case], scores: Any
) -> str:
    names = [*CRITERIA, *LEARNT, PROBED, RANDOM]
    main_size = settings.study.sizes[0]
    small = [each for each in cases if each.size == main_size]
    first = [own for c, own in zip(cases, scores, strict=True) if c.size == main_size]
    labels = {task: unpack(part.labels.iloc[0]) for task, part in frame.groupby("task")}
    winner, metric = params.select.criterion, params.task(cases[0].task).metrics[0]
    limited = pd.concat([read_cells(group, predicted=True) for group in ("budget", "chosen")])
    budget = [trained(limited, case.task, case.size) for case in small]
    pictures.draw_spread(FIGURES / "plans.png", small)
    pictures.draw_correlations(FIGURES / "criteria.png", cases, scores, names)
    pictures.draw_winner(FIGURES / "default.png", small, first, winner)
    pictures.draw_budget(FIGURES / "budget.png", small, budget, settings.chosen)
    rates = asdict(params.train.learning_rate)
    parts = {
        "conclusion": (TEXTS / "conclusion.md").read_text(encoding="utf-8").strip(),
        "run": sections.what_was_run(frame, cases),
        "warnings": warnings(),
        "sweep": sections.sweep_table(read_cells("sweep"), rates, settings.study.updates),
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
        "size": f"{main_size:,}",
        "batch": str(params.train.batch_size),
        "evaluations": str(settings.study.evaluations),
        "updates": str(settings.study.updates),
        "sweep_seeds": str(len(settings.sweep.seeds)),
        "base": "n{examples}_s{seed}".format(**base(params)),
    }
    template = (TEXTS / "template.md").read_text(encoding="utf-8")
    for key, value in parts.items():
        template = template.replace("{{" + key + "}}", value)
    return template


if __name__ == "__main__":
    run(main)
