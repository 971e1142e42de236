"""The tables of plans under a budget, of chosen plans, and of cheap rivals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fishpal.metrics import metric
from fishpal.reporting.bootstrap import Difference, paired_difference
from fishpal.reporting.markdown import code, compact, table
from studies.criteria.analysis.agreement import percentile, regret
from studies.criteria.analysis.table import Trained
from studies.criteria.analysis.verdicts import Case, judge
from studies.criteria.design.names import UNIFORM
from studies.criteria.report.sections import points


@dataclass(frozen=True)
class Rival:
    """A plan beside a case's best uniform plan; `ratio` is of training seconds."""

    layers: str
    kept: int
    ratio: float
    difference: Difference


def best_uniform(case: Case) -> str:
    """The uniform plan of the best mean score."""
    means = case.trained.score.mean(axis=1)
    return max(UNIFORM, key=lambda kind: means[case.trained.uniform(kind)])


def difference(labels: np.ndarray, first: np.ndarray, second: np.ndarray, name: str) -> Difference:
    """First minus second with its 95 % interval over seeds and examples."""
    classes = int(labels.max()) + 1
    return paired_difference(metric(name), labels, first, second, classes)


def compare(case: Case, other: Trained, plan: str, labels: np.ndarray, name: str) -> Rival:
    """A plan of `other` against the case's best uniform plan."""
    base, index = case.trained.uniform(best_uniform(case)), other.plans.index(plan)
    seconds = np.median(other.seconds[index]) / np.median(case.trained.seconds[base])
    found = difference(labels, other.predictions[index], case.trained.predictions[base], name)
    return Rival(other.layers[index], int(other.kept[index]), float(seconds), found)


def budget_tables(
    cases: Sequence[Case],
    others: Sequence[Trained],
    labels: Mapping[str, np.ndarray],
    name: str,
    shares: Sequence[float],
) -> str:
    """One table a share, and one of the criterion's plans without a limit."""
    parts = []
    for share in (*shares, None):
        own = [others[0].plans[i] for i in others[0].where(share=share)]
        own = [plan for plan in own if all(plan in other.plans for other in others)]
        title = "Without a limit" if share is None else f"At most {share:.0%} of the full plan"
        if own:
            parts.append(f"{title}:\n\n{budget_table(cases, others, labels, name, own)}")
    return "\n\n".join(parts)


def budget_table(
    cases: Sequence[Case],
    others: Sequence[Trained],
    labels: Mapping[str, np.ndarray],
    name: str,
    plans: Sequence[str],
) -> str:
    """One row a plan: score less the best uniform plan's on every task, parameters, seconds."""
    rows = []
    for plan in plans:
        found = [
            compare(case, other, plan, labels[case.task], name)
            for case, other in zip(cases, others, strict=True)
        ]
        layers = dict.fromkeys(each.layers for each in found)
        rows.append(
            [plan, " ".join(f"`{word}`" for word in layers), span([each.kept for each in found])]
            + [interval(each.difference) for each in found]
            + [f"{100 * np.mean([each.difference.difference for each in found]):+.1f}"]
            + [f"{np.mean([each.ratio for each in found]):.2f}"]
        )
    rows.sort(key=lambda row: -float(row[-2]))
    header = ["plan", "layers", "kept", *(code(case.task) for case in cases)]
    return table([*header, "mean", "seconds"], rows)


def span(counts: Sequence[int]) -> str:
    """`49.2 K`, or `37.3 K to 52.7 K` where they differ."""
    return " to ".join(dict.fromkeys(compact(each) for each in (min(counts), max(counts))))


def interval(found: Difference) -> str:
    """Points of accuracy with the interval; bold where it excludes zero."""
    text = f"{100 * found.difference:+.1f} [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
    return f"**{text}**" if found.excludes_zero else text


def uniform_table(
    cases: Sequence[Case],
    scores: Sequence[Mapping[str, np.ndarray]],
    criterion: str,
    labels: Mapping[str, np.ndarray],
    name: str,
) -> str:
    """The plan that a criterion picks among the trained ones, less each uniform plan."""
    rows = []
    for case, own in zip(cases, scores, strict=True):
        verdict, predictions = judge(case, own[criterion]), case.trained.predictions
        mine, rivals = predictions[verdict.chosen], map(case.trained.uniform, UNIFORM)
        rows.append(
            [f"{code(case.task)}, {case.size}", f"`{case.trained.layers[verdict.chosen]}`"]
            + [
                interval(difference(labels[case.task], mine, predictions[rival], name))
                for rival in rivals
            ]
        )
    return table(["task, K", "plan", *(f"less all-{kind}" for kind in UNIFORM)], rows)


def rivals_table(cases: Sequence[Case], halving: pd.DataFrame) -> str:
    """Regret and percentile of rules that need no Fisher information."""
    rules = {
        "oracle (best by all seeds)": lambda case: case.trained.score.mean(axis=1).argmax(),
        "most parameters": lambda case: case.trained.kept.argmax(),
        "best uniform kind, trained in full": lambda case: case.trained.uniform(best_uniform(case)),
        "uniform kind by successive halving": lambda case: case.trained.uniform(
            halve(halving[halving.task == case.task])
        ),
    }
    rows = []
    for name, rule in rules.items():
        cells = []
        for case in cases:
            chosen, means = int(rule(case)), case.trained.score.mean(axis=1)
            share = percentile(float(means[chosen]), means[case.mixes])
            cells.append(f"{points(regret(chosen, case.trained.score))} ({share:.0f})")
        rows.append([name, *cells])
    random = []
    for case in cases:
        means = case.trained.score.mean(axis=1)
        random.append(f"{points(means.max() - means[case.mixes].mean())} (50)")
    rows.append(["a random mix, on average", *random])
    return table(["rule", *(f"{code(case.task)}, {case.size}" for case in cases)], rows)


def halve(frame: pd.DataFrame) -> str:
    """The kind that wins: the better half (rounded up) stays after each rung."""
    kinds = list(UNIFORM)
    for updates in sorted(frame.updates.unique()):
        rung = frame[frame.updates == updates]
        loss = {k: rung[rung.kind == k].selection_loss.mean() for k in kinds}
        kinds = sorted(kinds, key=loss.__getitem__)[: max(1, (len(kinds) + 1) // 2)]
    return kinds[0]
