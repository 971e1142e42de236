"""The study's tables in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from fishpal.common.files import read_json
from fishpal.reporting.markdown import code, table
from studies.criteria.analysis.agreement import stability
from studies.criteria.analysis.scoring import TRANSFORMED
from studies.criteria.analysis.table import Trained, read_cells
from studies.criteria.analysis.verdicts import Case, Verdict, judge, leave_one_out, spread
from studies.criteria.design.names import BASE, EXAMPLES, MIXES, PROBE, SEEDS, SIGNALS, UNIFORM
from studies.criteria.design.settings import Settings

ABLATED = {
    "probe": "probe",
    "joint": "joint",
    "exact": "exact",
    "dropout": "dropout",
    "prefix_mlp": "prefix mlp",
    "prefix_std_0p2": "prefix std 0.2",
    "prefix_std_2": "prefix std 2",
}
"""Configurations that change one thing, and what the table calls them."""
Scores = Sequence[Mapping[str, np.ndarray]]


def points(value: float) -> str:
    """A share as points of accuracy."""
    return f"{100 * value:.1f}"


def what_was_run(frame: pd.DataFrame, cases: Sequence[Case]) -> str:
    rows = []
    for case in cases:
        part = frame[(frame.task == case.task) & (frame["size"] == case.size)]
        plans = len(case.trained.plans) + len(case.head.plans)
        examples = len(next(iter(part.predictions)))
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
    rows = []
    for name, group in sorted(frame.groupby("plan"), key=lambda pair: _sweep_order(pair[0])):
        kind, tried = str(name).split("_", 1)
        means = [group[group.task == task].selection_loss.mean() for task in tasks]
        rate = rates[kind] if tried.endswith("u") else _number(tried)
        length = int(tried[:-1]) if tried.endswith("u") else updates
        chosen = rate == rates[kind] and length == updates
        cells = [f"{rate:g}", str(length), *(f"{m:.3f}" for m in means), f"{np.mean(means):.3f}"]
        rows.append([kind, *((f"**{cell}**" if chosen else cell) for cell in cells)])
    return table(["kind", "peak rate", "updates", *map(code, tasks), "mean"], rows)


def _sweep_order(name: str) -> tuple[str, bool, float]:
    kind, tried = name.split("_", 1)
    return kind, tried.endswith("u"), 0.0 if tried.endswith("u") else _number(tried)


def _number(text: str) -> float:
    return float(text.replace("p", ".").replace("m", "-"))


def spread_table(cases: Sequence[Case]) -> str:
    """Uniform plans and mixes, and how much of it all is the seed."""
    rows = []
    for case in cases:
        trained, found = case.trained, spread(case)
        means = trained.score.mean(axis=1)[case.mixes]
        uniform = [_percent(trained.score[trained.index(kind)]) for kind in UNIFORM]
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
        uniform = max(best[case.trained.index(kind)] for kind in UNIFORM)
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
    measured = {each: [case.scores_under(each) for case in cases] for each in (BASE, *ABLATED)}
    lines = [(BASE, name, f"{name}, as measured") for name in TRANSFORMED]
    lines += [
        (configuration, name, f"{name}, {label}")
        for configuration, label in ABLATED.items()
        for name in ("mean", "snr", "kernel")
    ]
    rows = []
    for configuration, name, label in lines:
        pairs = zip(cases, measured[configuration], strict=True)
        found = [judge(case, scores[name]).loss.spearman for case, scores in pairs]
        rows.append([label, *(f"{rho:+.2f}" for rho in found), f"{_median(found):+.2f}"])
    header = ["signal", *(f"ρ {code(case.task)} {case.size}" for case in cases), "median ρ"]
    return table(header, rows)


def stability_table(cases: Sequence[Case], names: Sequence[str]) -> str:
    """Over Fisher seeds: share of layers chosen alike, and the mean Spearman, at each n."""
    rows = []
    for name in names:
        cells = []
        for n in EXAMPLES:
            same = [f"n{n}_s{seed}" for seed in SEEDS]
            alike = [
                stability([case.signals[each]["chosen"][name] for each in same]) for case in cases
            ]
            rhos = [
                judge(case, case.scores_under(each)[name]).loss.spearman
                for case in cases
                for each in same
            ]
            cells += [f"{100 * np.mean(alike):.0f} %", f"{np.mean(rhos):+.2f}"]
        rows.append([name, *cells])
    header = ["criterion", *(f"{what}, n = {n}" for n in EXAMPLES for what in ("alike", "ρ"))]
    return table(header, rows)


def plan_groups(trained: Trained) -> dict[str, list[int]]:
    """Indices by what a plan is: each uniform kind, the mixes, the leads."""
    groups: dict[str, list[int]] = {}
    for i, name in enumerate(trained.plans):
        group = "mixes" if name.startswith(MIXES) else name
        groups.setdefault(group, []).append(i)
    return groups


def probe_cost(cases: Sequence[Case], settings: Settings, batch: int) -> str:
    """Seconds of probe training as a share of one training, task by task."""
    found = []
    for case in cases:
        frame = read_cells(f"{PROBE}/{case.task}")
        own = frame[frame["size"] == settings.probe_size(case.size, batch)]
        training = float(np.median(case.trained.seconds[case.trained.index("lora")]))
        share = own.groupby("seed").seconds.sum().mean() / training
        found.append(f"{code(case.task)} {100 * share:.0f} %")
    return ", ".join(found)


def cost_table(cases: Sequence[Case], criterion: str) -> str:
    """Seconds to measure and select, as a share of one training of the all-LoRA plan."""
    rows = []
    for case in cases:
        seconds = read_json(SIGNALS / case.task / f"{case.size}_seconds.json")
        training = float(np.median(case.trained.seconds[case.trained.index("lora")]))
        cells = []
        for n in EXAMPLES:
            taken = seconds[f"n{n}_s0"]["measure"] + seconds[f"n{n}_s0"]["select"][criterion]
            cells.append(f"{taken:.1f} s ({100 * taken / training:.0f} %)")
        rows.append([code(case.task), *cells, f"{training:.1f} s"])
    return table(["task", *(f"n = {n}" for n in EXAMPLES), "one training"], rows)
