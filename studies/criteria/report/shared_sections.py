"""The table of scores from weights that all plans share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fishpal.reporting.markdown import code, table
from studies.criteria.analysis.shared import Ranked, ranked
from studies.criteria.analysis.table import Trained
from studies.criteria.analysis.verdicts import Case
from studies.criteria.design.names import Columns
from studies.criteria.report.sections import points

Found = dict[str, dict[str, list[Ranked]]]
"""Plans in full or under a budget → score → one a task."""


def shared_findings(
    cases: Sequence[Case], budget: Sequence[Trained], lines: Sequence[Columns]
) -> Found:
    """Of the tasks whose shared weights were trained."""
    found: Found = {"in full": {}, "under a budget": {}}
    for case, limited in zip(cases, budget, strict=True):
        own = [line for line in lines if line["task"] == case.task]
        training = float(np.median(case.trained.seconds[case.trained.uniform("lora")]))
        for plans, trained in zip(found, (case.trained, limited), strict=True):
            for name, one in ranked(trained, own, training).items() if own else ():
                found[plans].setdefault(name, []).append(one)
    return found


def shared_tables(cases: Sequence[Case], found: Found) -> str:
    """One table for plans in full, one for those under a budget."""
    parts = []
    for plans, scores in found.items():
        rows = []
        for name, each in sorted(scores.items(), key=lambda item: -median(item[1])):
            alike = [one.seeds for one in each if one.seeds is not None]
            costs = [one.cost for one in each if one.cost is not None]
            rows.append(
                [name, *(f"{one.spearman:+.2f}" for one in each), f"**{median(each):+.2f}**"]
                + [points(float(np.median([one.regret for one in each])))]
                + [f"{np.median(alike):+.2f}" if alike else ""]
                + [f"{100 * np.median(costs):.0f} %" if costs else "0 %"]
            )
        header = ["score", *(f"ρ {code(case.task)}" for case in cases), "median ρ"]
        header += ["median regret", "ρ of its two seeds", "cost"]
        parts.append(f"Plans {plans}:\n\n{table(header, rows)}")
    return "\n\n".join(parts)


def median(each: Sequence[Ranked]) -> float:
    """Median Spearman over tasks."""
    return float(np.median([one.spearman for one in each]))
