"""The study's tables in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fishpal.reporting.markdown import code, table
from studies.criteria.analysis.agreement import stability
from studies.criteria.analysis.table import Trained, read_cells
from studies.criteria.analysis.verdicts import Case, Verdict, judge, leave_one_out, spread
from studies.criteria.design.names import EXAMPLES, SEEDS, UNIFORM
from studies.criteria.design.settings import Settings
from studies.criteria.trainings.scores import TRANSFORMED

ABLATED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("probe", {"head": "probe"}),
    ("joint", {"mode": "joint"}),
    ("exact", {"estimator": "exact"}),
    ("dropout", {"dropout": True}),
    ("prefix mlp", {"reparameterize": True}),
    ("prefix std 0.2", {"std": 0.2}),
    ("prefix std 2", {"std": 2.0}),
)
"""What the ablation's table calls a measurement, and the one thing that it changes."""
Scores = Sequence[Mapping[str, np.ndarray]]


def points(value: float) -> str:
    """A share as points of accuracy."""
    return f"{100 * value:.1f}"


def what_was_run(frame: pd.DataFrame, cases: Sequence[Case]) -> str:
    rows = []
    for case in cases:
        part = frame[(frame.task == case.task) & (frame["size"] == case.size)]
        plans = len(case.trained.plans) + len(case.head.plans)
        examples = len(part.predictions.iloc[0])
        hours = part.seconds.sum() / 3600
        rows.append(
            [code(case.task), str(case.size), str(plans), str(len(case.mixes))]
            + [str(part.seed.nunique()), str(len(part)), f"{examples:,}", f"{hours:.2f}"]
        )
    header = ["task", "K", "plans", "random mixes", "seeds", "cells", "scored on", "training hours"]
    return table(header, rows)


def sweep_table(frame: pd.DataFrame, rates: Mapping[str, float], updates: int) -> str:
    """Mean best selection loss of every kind at every rate; the chosen one in bold."""
    tasks = sorted(frame.task.unique())
    frame = frame.assign(kind=frame.kind.fillna("head"), longer=frame.updates != updates)
    rows = []
    for (kind, longer, rate, length), group in frame.groupby(["kind", "longer", "rate", "updates"]):
        means = [group[group.task == task].selection_loss.mean() for task in tasks]
        cells = [f"{rate:g}", str(length), *(f"{m:.3f}" for m in means), f"{np.mean(means):.3f}"]
        chosen = rate == rates[kind] and not longer
        rows.append([kind, *((f"**{cell}**" if chosen else cell) for cell in cells)])
    return table(["kind", "peak rate", "updates", *map(code, tasks), "mean"], rows)


def spread_table(cases: Sequence[Case]) -> str:
    """Uniform plans and mixes, and how much of it all is the seed."""
    rows = []
    for case in cases:
        trained, found = case.trained, spread(case)
        means = trained.score.mean(axis=1)[case.mixes]
        uniform = [_percent(trained.score[trained.uniform(kind)]) for kind in UNIFORM]
        rows.append(
            [f"{code(case.task)}, {case.size}", _percent(case.head.score[0]), *uniform]
            + [f"{points(means.min())} to {points(means.max())}"]
            + [points(found.plan_sd), points(found.seed_sd)]
            + [f"{100 * found.share_score:.0f} %", f"{100 * found.share_loss:.0f} %"]
            + [f"{found.ceiling:.2f}", points(found.floor)]
        )
    header = ["task, K", "head", *UNIFORM, "mixes", "sd of plans", "sd of seeds"]
    header += ["plans' share, accuracy", "loss", "highest ρ to hope for", "regret of one seed"]
    return table(header, rows)


def _percent(scores: np.ndarray) -> str:
    """Mean ± standard deviation over seeds, one digit; the mean alone of one seed."""
    mean = points(float(scores.mean()))
    return mean if len(scores) == 1 else f"{mean} ± {points(float(scores.std(ddof=1)))}"


def criteria_tables(cases: Sequence[Case], scores: Scores, names: Sequence[str]) -> str:
    """One table a size."""
    parts = []
    for size in dict.fromkeys(case.size for case in cases):
        of_size = [number for number, case in enumerate(cases) if case.size == size]
        own = [cases[number] for number in of_size]
        parts.append(f"K = {size:,}:")
        parts.append(_criteria_table(own, [scores[number] for number in of_size], names))
    return "\n\n".join(parts)


def _criteria_table(cases: Sequence[Case], scores: Scores, names: Sequence[str]) -> str:
    """Every criterion over all cases, best median Spearman first."""
    judged = {n: [judge(c, s[n]) for c, s in zip(cases, scores, strict=True)] for n in names}
    order = sorted(names, key=lambda n: -_median([v.loss.spearman for v in judged[n]]))
    rows = [[name, *_verdict_cells(judged[name])] for name in order]
    header = ["criterion", *(f"ρ {code(case.task)} {case.size}" for case in cases)]
    header += ["median ρ", "median τ", "median ρ, accuracy", "median regret", "lowest percentile"]
    return table(header, rows)


def _verdict_cells(verdicts: Sequence[Verdict]) -> list[str]:
    return [
        *(f"{v.loss.spearman:+.2f}" for v in verdicts),
        f"**{_median([v.loss.spearman for v in verdicts]):+.2f}**",
        f"{_median([v.loss.kendall for v in verdicts]):+.2f}",
        f"{_median([v.score.spearman for v in verdicts]):+.2f}",
        points(_median([v.regret for v in verdicts])),
        f"{min(v.percentile for v in verdicts):.0f}",
    ]


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))


def leave_one_out_table(cases: Sequence[Case], pool: Sequence[str]) -> str:
    rows = []
    for case, (name, verdict) in zip(cases, leave_one_out(cases, pool), strict=True):
        plan = case.trained.layers[verdict.chosen]
        best = case.trained.score.mean(axis=1)
        uniform = max(best[case.trained.uniform(kind)] for kind in UNIFORM)
        rows.append(
            [f"{code(case.task)}, {case.size}", name, f"{verdict.loss.spearman:+.2f}"]
            + [f"`{plan}`", points(best[verdict.chosen]), points(uniform), points(best.max())]
            + [points(verdict.regret), f"{verdict.percentile:.0f}"]
        )
    header = ["task, K", "picked on the others", "ρ here", "its plan", "accuracy"]
    header += ["best uniform", "best of all", "regret", "percentile of mixes"]
    return table(header, rows)


def ablation_table(cases: Sequence[Case]) -> str:
    """Spearman of the thesis's signal under other scales, and of criteria measured otherwise."""
    lines = [(f"{name}, as measured", rhos) for name, rhos in rhos_by_scale(cases).items()]
    lines += [
        (f"{name}, {what}", rhos_of(cases, name, **change))
        for what, change in ABLATED
        for name in ("mean", "snr", "kernel")
    ]
    rows = [
        [title, *(f"{rho:+.2f}" for rho in found), f"{_median(found):+.2f}"]
        for title, found in lines
    ]
    header = ["signal", *(f"ρ {code(case.task)} {case.size}" for case in cases), "median ρ"]
    return table(header, rows)


def rhos_by_scale(cases: Sequence[Case]) -> dict[str, list[float]]:
    """Spearman on every case of criteria as they are and under other scales."""
    return {name: rhos_of(cases, name) for name in TRANSFORMED}


def rhos_of(cases: Sequence[Case], name: str, **change: Any) -> list[float]:
    """Spearman of a score on every case, where a measurement was changed so."""
    return [judge(c, c.scores_under(**change)[name]).loss.spearman for c in cases]


def stability_table(cases: Sequence[Case], names: Sequence[str]) -> str:
    """Over Fisher seeds: share of layers chosen alike, and the mean Spearman, at each n."""
    rows = []
    for name in names:
        cells = []
        for n in EXAMPLES:
            alike, rhos = [], []
            for case in cases:
                lines = [case.measured(examples=n, seed=seed) for seed in SEEDS]
                alike.append(stability([line["chosen"][name] for line in lines]))
                for seed in SEEDS:
                    scores = case.scores_under(examples=n, seed=seed)[name]
                    rhos.append(judge(case, scores).loss.spearman)
            cells += [f"{100 * np.mean(alike):.0f} %", f"{np.mean(rhos):+.2f}"]
        rows.append([name, *cells])
    header = ["criterion", *(f"{what}, n = {n}" for n in EXAMPLES for what in ("alike", "ρ"))]
    return table(header, rows)


def plan_groups(trained: Trained) -> dict[str, list[int]]:
    """Indices by what a plan is: each uniform kind, the mixes, the leads."""
    groups: dict[str, list[int]] = {}
    for i, columns in enumerate(trained.columns):
        rule = columns["rule"]
        group = {"mix": "mixes", "uniform": columns.get("kind")}.get(rule, rule)
        groups.setdefault(str(group), []).append(i)
    return groups


def probe_cost(cases: Sequence[Case], settings: Settings, batch: int) -> str:
    """Seconds of probe training as a share of one training, task by task."""
    found, frame = [], read_cells("probe")
    for case in cases:
        size = settings.probe_size(case.size, batch)
        own = frame[(frame.task == case.task) & (frame["size"] == size)]
        training = float(np.median(case.trained.seconds[case.trained.uniform("lora")]))
        share = own.groupby("seed").seconds.sum().mean() / training
        found.append(f"{code(case.task)} {100 * share:.0f} %")
    return ", ".join(found)


def cost_table(cases: Sequence[Case], criterion: str) -> str:
    """Seconds to measure and select, as a share of one training of the all-LoRA plan."""
    rows = []
    for case in cases:
        training = float(np.median(case.trained.seconds[case.trained.uniform("lora")]))
        cells = []
        for n in EXAMPLES:
            line = case.measured(examples=n)
            taken = line["measure"] + line["select"][criterion]
            cells.append(f"{taken:.1f} s ({100 * taken / training:.0f} %)")
        rows.append([code(case.task), *cells, f"{training:.1f} s"])
    return table(["task", *(f"n = {n}" for n in EXAMPLES), "one training"], rows)
