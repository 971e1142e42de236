"""Stage: the study's report from its store."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fishpal.common.files import write_text
from fishpal.common.kinds import CriterionName
from fishpal.params.load import Params
from stages.runner import run
from studies.criteria.analysis.table import Trained, read_cells, trained, unpack
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
from studies.criteria.report import budget_sections, pictures, sections, shared_sections
from studies.criteria.report.warnings import warnings
from studies.criteria.trainings.store import read_lines

REPORTS = Path("..", "..", "reports")
FIGURES = REPORTS / "study"
TEXTS = Path("report")
RANDOM = "random score"
LEARNT = (PLACEMENT, BLEND)
PROBED = "probe training"

CRITERIA = tuple(each.value for each in CriterionName)


@dataclass(frozen=True)
class Findings:
    """What the report tells of.

    Attributes:
        frame: the lines of the fixed plans.
        scores: of every case, by criterion and learnt score.
        measured: the library's criteria that all signals have.
        small: the cases of the main size; `budget`: their plans under a budget and chosen ones.
    """

    params: Params
    settings: Settings
    frame: pd.DataFrame
    cases: list[Case]
    scores: list[dict[str, Any]]
    measured: list[str]
    small: list[Case]
    budget: list[Trained]

    @cached_property
    def shared(self) -> shared_sections.Found:
        """Scores from weights that all plans share."""
        return shared_sections.shared_findings(self.small, self.budget, read_lines("shared"))

    @property
    def names(self) -> list[str]:
        """All scores."""
        return [*self.measured, *LEARNT, PROBED, RANDOM]


def findings(params: Params) -> Findings:
    """Read the store."""
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
    measured = [name for name in CRITERIA if all(name in line["scores"] for line in signals)]
    small = [each for each in cases if each.size == settings.study.sizes[0]]
    limited = pd.concat([read_cells(group, predicted=True) for group in ("budget", "chosen")])
    budget = [trained(limited, each.task, each.size) for each in small]
    return Findings(params, settings, frame, cases, scores, measured, small, budget)


def draw(found: Findings) -> None:
    """One figure a finding."""
    small, winner = found.small, found.params.select.criterion
    pairs = zip(found.cases, found.scores, strict=True)
    first = [own for each, own in pairs if each.size == small[0].size]
    pictures.draw_spread(FIGURES / "plans.png", small)
    pictures.draw_correlations(FIGURES / "criteria.png", found.cases, found.scores, found.names)
    pictures.draw_scales(FIGURES / "scales.png", small)
    pictures.draw_shared(FIGURES / "shared.png", small, found.shared)
    pictures.draw_winner(FIGURES / "default.png", small, first, winner)
    pictures.draw_budget(FIGURES / "budget.png", small, found.budget, found.settings.chosen)


def texts(found: Findings) -> dict[str, str]:
    """What stands at each of the template's places."""
    params, settings, cases, small = found.params, found.settings, found.cases, found.small
    study, batch = settings.study, params.train.batch_size
    winner, metric = params.select.criterion, params.task(cases[0].task).metrics[0]
    labels = {task: unpack(part.labels.iloc[0]) for task, part in found.frame.groupby("task")}
    rates, shares = asdict(params.train.learning_rate), settings.budget.shares
    return {
        "cells": f"{len(found.frame):,}",
        "plans": str(len(small[0].trained.plans)),
        "sizes": ", ".join(f"{size:,}" for size in sorted(study.sizes)),
        "run": sections.what_was_run(found.frame, cases),
        "warnings": warnings([name for name in CRITERIA if name not in found.measured]),
        "sweep": sections.sweep_table(read_cells("sweep"), rates, study.updates),
        "spread": sections.spread_table(cases),
        "criteria": sections.criteria_tables(cases, found.scores, found.names),
        "loto": sections.leave_one_out_table(cases, found.measured),
        "chosen": budget_sections.uniform_table(cases, found.scores, winner, labels, metric),
        "rivals": budget_sections.rivals_table(small, read_cells("halving")),
        "ablation": sections.ablation_table(small),
        "stability": sections.stability_table(small, found.measured),
        "cost": sections.cost_table(small, winner),
        "probe_updates": str(settings.probe.updates),
        "probe_cost": sections.probe_cost(small, settings, batch),
        "budget": budget_sections.budget_tables(small, found.budget, labels, metric, shares),
        "shared": shared_sections.shared_tables(small, found.shared),
        "winner": winner,
        "size": f"{study.sizes[0]:,}",
        "batch": str(batch),
        "evaluations": str(study.evaluations),
        "updates": str(study.updates),
        "sweep_seeds": str(len(settings.sweep.seeds)),
        "base": "n{examples}_s{seed}".format(**base(params)),
    }


def main(params: Params) -> None:
    found = findings(params)
    draw(found)
    places = texts(found)
    for template, target in (
        ("page.md", REPORTS / "study.md"),
        ("tables.md", FIGURES / "tables.md"),
    ):
        text = (TEXTS / template).read_text(encoding="utf-8")
        for key, value in places.items():
            text = text.replace("{{" + key + "}}", value)
        write_text(target, text)


if __name__ == "__main__":
    run(main)
