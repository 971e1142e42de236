"""The study's figures, one a finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fishpal.reporting.canvas import figure_file
from fishpal.reporting.figures import COLOURS, MARKERS
from studies.criteria.analysis.agreement import ranks
from studies.criteria.analysis.table import Trained
from studies.criteria.analysis.verdicts import Case, judge
from studies.criteria.design.names import UNIFORM
from studies.criteria.design.settings import Chosen
from studies.criteria.report.sections import plan_groups, rhos_by_scale
from studies.criteria.report.shared_sections import Found, median


def draw_spread(path: Path, cases: Sequence[Case]) -> None:
    """Every plan's accuracy, seed by seed: do plans differ more than seeds do?"""
    with figure_file(path, (2.6 * len(cases) + 1.6, 4.0)) as figure:
        axes = figure.subplots(1, len(cases), squeeze=False)[0]
        for axis, case in zip(axes, cases, strict=True):
            order = np.argsort(case.trained.score.mean(axis=1))
            groups = plan_groups(case.trained)
            for place, i in enumerate(order):
                group = next(name for name, members in groups.items() if i in members)
                colour = _colour(group)
                values = 100 * case.trained.score[i]
                axis.plot([place] * len(values), values, color=colour, lw=1, alpha=0.6)
                axis.scatter([place] * len(values), values, color=colour, s=9, zorder=3)
            head = 100 * case.head.score[0].mean()
            axis.axhline(head, color="black", lw=1, ls=":")
            axis.set_title(f"{case.task}, K = {case.size}", size=10)
            axis.set_xlabel("plans, worst to best mean")
        axes[0].set_ylabel("accuracy, each seed")
        for group in (*UNIFORM, "mixes", "lead"):
            axes[-1].scatter([], [], color=_colour(group), label=group, s=16)
        axes[-1].plot([], [], color="black", ls=":", label="head alone")
        axes[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        figure.suptitle("Every plan with every seed")


def _colour(group: str) -> str:
    names = [*UNIFORM, "lead"]
    return COLOURS[names.index(group)] if group in names else "#B0B0B0"


def draw_correlations(
    path: Path,
    cases: Sequence[Case],
    scores: Sequence[Mapping[str, np.ndarray]],
    names: Sequence[str],
) -> None:
    """Spearman of every criterion on every task."""
    values = np.array(
        [
            [judge(c, s[name]).loss.spearman for c, s in zip(cases, scores, strict=True)]
            for name in names
        ]
    )
    order = np.argsort(np.median(values, axis=1))
    with figure_file(path, (1.1 * len(cases) + 3.2, 0.34 * len(names) + 1.4)) as figure:
        axis = figure.subplots()
        shades: dict[str, Any] = {
            "cmap": "RdBu",
            "vmin": -1,
            "vmax": 1,
            "aspect": "auto",
            "origin": "lower",
        }
        image = axis.imshow(values[order], **shades)
        for (y, x), value in np.ndenumerate(values[order]):
            colour = "white" if abs(value) > 0.6 else "black"
            axis.text(x, y, f"{value:+.2f}", ha="center", va="center", size=8, color=colour)
        axis.set_xticks(range(len(cases)), [f"{case.task}\n{case.size}" for case in cases])
        axis.set_yticks(range(len(names)), [names[i] for i in order])
        axis.grid(visible=False)
        axis.set_title("Spearman's ρ of score and mean trained loss", size=10)
        figure.colorbar(image, ax=axis, shrink=0.8)


def draw_scales(path: Path, cases: Sequence[Case]) -> None:
    """Spearman of criteria as they are and under other scales, a dot a task."""
    found = rhos_by_scale(cases)
    with figure_file(path, (8.0, 0.34 * len(found) + 1.2)) as figure:
        axis = figure.subplots()
        for i, case in enumerate(cases):
            rhos = [each[i] for each in found.values()]
            look: dict[str, Any] = {"color": COLOURS[i], "marker": MARKERS[i]}
            axis.scatter(rhos, range(len(found)), label=case.task, s=30, **look)
        medians = [np.median(each) for each in found.values()]
        axis.scatter(medians, range(len(found)), color="black", marker="|", s=160, label="median")
        axis.set_yticks(range(len(found)), list(found))
        axis.invert_yaxis()
        axis.axvline(0, color="black", lw=1, ls=":")
        axis.set_xlabel(f"Spearman's ρ of score and mean trained loss, K = {cases[0].size}")
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def draw_shared(path: Path, cases: Sequence[Case], found: Found) -> None:
    """Spearman of every score from shared weights, a dot a task, plans in full and limited."""
    names = list(next(iter(found.values())))
    with figure_file(path, (9.0, 0.34 * len(names) + 1.4)) as figure:
        axes = figure.subplots(1, len(found), sharey=True)
        for axis, (plans, scores) in zip(axes, found.items(), strict=True):
            for i, case in enumerate(cases):
                rhos = [scores[name][i].spearman for name in names]
                look: dict[str, Any] = {"color": COLOURS[i], "marker": MARKERS[i]}
                axis.scatter(rhos, range(len(names)), label=case.task, s=30, **look)
            medians = [median(scores[name]) for name in names]
            axis.scatter(medians, range(len(names)), color="black", marker="|", s=160)
            axis.axvline(0, color="black", lw=1, ls=":")
            axis.set_title(f"plans {plans}", size=10)
        figure.supxlabel("Spearman's ρ of score and mean trained loss", size=10)
        axes[0].set_yticks(range(len(names)), names)
        axes[0].invert_yaxis()
        axes[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def draw_winner(
    path: Path, cases: Sequence[Case], scores: Sequence[Mapping[str, np.ndarray]], name: str
) -> None:
    """Rank of the score against the mean loss."""
    with figure_file(path, (2.6 * len(cases) + 0.6, 3.2)) as figure:
        axes = figure.subplots(1, len(cases), squeeze=False)[0]
        for axis, case, own in zip(axes, cases, scores, strict=True):
            loss = -case.trained.loss.mean(axis=1)
            for group, members in plan_groups(case.trained).items():
                place = ranks(own[name])[members]
                axis.scatter(place, loss[members], color=_colour(group), s=18, label=group)
            rho = judge(case, own[name]).loss.spearman
            axis.set_title(f"{case.task}, K = {case.size}: ρ = {rho:+.2f}", size=10)
            axis.set_xlabel(f"rank of the score ({name})")
        axes[0].set_ylabel("evaluation loss, mean of seeds")


def draw_budget(
    path: Path, cases: Sequence[Case], others: Sequence[Trained], ways: Sequence[Chosen]
) -> None:
    """Accuracy against training seconds: full plans, budget plans, the criterion's own."""
    shares = list(dict.fromkeys(way.share for way in ways))
    with figure_file(path, (2.6 * len(cases) + 1.9, 3.4)) as figure:
        axes = figure.subplots(1, len(cases), squeeze=False)[0]
        for axis, case, other in zip(axes, cases, others, strict=True):
            for i, kind in enumerate(UNIFORM):
                index = case.trained.uniform(kind)
                _point(axis, case.trained, index, COLOURS[i], "o", f"all-{kind}, in full")
            for index, columns in enumerate(other.columns):
                if columns["rule"] != "criterion":
                    _point(axis, other, index, "#B0B0B0", "o", "other plans under a budget")
            for way in ways:
                index = other.index(rule="criterion", share=way.share, top_layers=way.top_layers)
                colour = COLOURS[3 + shares.index(way.share)]
                marker = MARKERS[1 if way.top_layers is None else 2]
                _point(axis, other, index, colour, marker, other.plans[index])
            axis.set_title(f"{case.task}, K = {case.size}", size=10)
            axis.set_xlabel("training seconds, median")
        axes[0].set_ylabel("accuracy ± sd of seeds")
        handles, labels = axes[-1].get_legend_handles_labels()
        unique = dict(zip(labels, handles, strict=True))
        axes[-1].legend(
            unique.values(), unique.keys(), loc="center left", bbox_to_anchor=(1.0, 0.5)
        )


def _point(axis: Any, trained: Trained, index: int, colour: str, marker: str, name: str) -> None:
    score = 100 * trained.score[index]
    sd = score.std(ddof=1) if len(score) > 1 else 0.0
    axis.errorbar(
        np.median(trained.seconds[index]),
        score.mean(),
        yerr=sd,
        color=colour,
        marker=marker,
        ms=5,
        lw=1,
        label=name,
        ls="none",
    )
