"""The report's figures: the same bytes for the same results."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib.patches
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from fishpal.common.choices import modules_of
from fishpal.reporting.canvas import figure_file
from fishpal.reporting.comparison import TaskReport
from fishpal.reporting.grid import MethodResults
from fishpal.reporting.markdown import compact, letters

LEAST_SCORES, LEAST_LOSSES = 0.05, 0.05  # heights of axes
# Okabe & Ito 2008: told apart with every common form of colour blindness.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C8C8C")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "h")
DASHES = ("-", "--", "-.", ":")
KIND_COLOURS = {"prefix": "#F0E442", "adapter": "#56B4E9", "lora": "#E69F00",
                "bias": "#CC79A7", "ia3": "#009E73"}  # fmt: skip
FULL_COLOUR, NONE_COLOUR = "#BBBBBB", "#EEEEEE"
WORDS = {"prefix": "P prefix", "adapter": "A adapter", "lora": "L LoRA", "bias": "B biases",
         "ia3": "I (IA)³"}  # fmt: skip
USUAL = ("prefix", "adapter", "lora")


def style_of(method: str, methods: Sequence[str]) -> dict[str, Any]:
    """Colour, marker and dash of a method: by its place in the grid, equal in every figure."""
    index = list(methods).index(method)
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": DASHES[index // len(COLOURS) % len(DASHES)],
    }


def draw_scores(path: str | Path | BytesIO, report: TaskReport) -> None:
    """Scores (layer × kind) of every criterion method, its plan marked, beside all the plans."""
    results = report.results
    scored = [method for method in results.methods if method.plan.reason.scores]
    layers = results.methods[0].plan.encoder.layers
    kinds = max([len(_kinds(method)) for method in scored], default=0)
    widths = [*(max(2.2, 0.95 * kinds) for _ in scored), max(1.8, 0.5 * len(results.methods))]
    size = (sum(widths) + 1.1 * len(widths) + 0.6, 1.9 + 0.34 * layers)
    with figure_file(path, size) as figure:
        axes = figure.subplots(1, len(widths), squeeze=False, width_ratios=widths)[0]
        for axis, method in zip(axes, scored, strict=False):
            _heat_map(axis, method)
        _plan_strip(axes[-1], results.methods)
        for axis in axes:
            _layer_axis(axis, layers)
        scores = "scores of the candidates (coloured by rank) and plans"
        figure.suptitle(f"{results.name}: {scores if scored else 'plans'}")


def draw_curves(path: str | Path | BytesIO, report: TaskReport) -> None:
    """Loss on the selection part by update: mean over seeds ± standard deviation."""
    results = report.results
    with figure_file(path, (7.6, 4.4)) as figure:
        axis = figure.subplots()
        for method in results.methods:
            updates, mean, sd = mean_curve(method)
            style = _style(report, method, 4)
            axis.plot(updates, mean, **style)
            axis.fill_between(updates, mean - sd, mean + sd, color=style["color"], alpha=0.15, lw=0)
        _span_at_least(axis, LEAST_LOSSES)
        axis.set_xlabel("update")
        axis.set_ylabel(f"selection loss, as checkpoints\nare compared ({results.loss})")
        seeds = len(results.methods[0].cells)
        spread = f", mean ± sd over {seeds} seeds" if seeds > 1 else ", one seed"
        axis.set_title(f"{results.name}: learning curves{spread}")
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def draw_parameters(path: str | Path | BytesIO, report: TaskReport) -> None:
    """Main metric against the parameters kept at inference, one panel a headline split."""
    results, panels = report.results, len(report.comparisons)
    with figure_file(path, (1.8 + 4.6 * panels, 4.2)) as figure:
        axes = figure.subplots(1, panels, squeeze=False, sharey=True)[0]
        for axis, comparison in zip(axes, report.comparisons, strict=True):
            for method in results.methods:
                score = comparison.scores[method.name]
                low, high = score.interval()  # its percentiles may leave out the mean
                bars = [[max(score.mean - low, 0)], [max(high - score.mean, 0)]]
                style = _style(report, method, 7) | {"linestyle": "none"}
                kept = max(method.parameters.kept, 1)  # a logarithm knows no zero
                axis.errorbar(kept, score.mean, yerr=bars, capsize=3, **style)
            floor = {"color": "#555555", "linestyle": ":", "label": "constant answer"}
            axis.axhline(comparison.floor.mean, **floor)
            _count_axis(axis, [method.parameters.kept for method in results.methods])
            axis.margins(x=0.12)
            axis.set_xlabel("parameters kept at inference, beyond the encoder")
            axis.set_title(comparison.split)
        fewest = min(len(results.labels[split]) for split in results.headline)
        _span_at_least(axes[0], max(LEAST_SCORES, 10 / fewest))
        axes[0].set_ylabel(results.metric)
        axes[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        share = f"{100 * report.comparisons[0].floor.confidence:g} % intervals"
        figure.suptitle(f"{results.name}: {results.metric} with {share}, by parameters kept")


def _style(report: TaskReport, method: MethodResults, size: float) -> dict[str, Any]:
    """A method whose plan equals another's is a ring around it, and its line is dashed over it."""
    style = style_of(method.name, [each.name for each in report.results.methods])
    style |= {"label": method.name, "markersize": size}
    if method.kept_start:
        style["label"] += " (untrained)"
    if method.name in report.equal:
        ring = {"markersize": 2 * size, "markerfacecolor": "none", "markeredgewidth": 1.6}
        style |= ring | {"linestyle": (0, (3, 3)), "zorder": 3}
        style["label"] += f" (plan of {report.equal[method.name]})"
    return style


def _count_axis(axis: Axes, counts: Sequence[int]) -> None:
    """Logarithmic, with ticks at 1, 2, 5, 10, … where there is room for them."""
    wide = max(counts) > 100 * max(min(counts), 1)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5)))
    axis.xaxis.set_major_formatter(lambda value, _: compact(round(value)).replace(".0", ""))
    axis.xaxis.set_minor_formatter(NullFormatter())


def _span_at_least(axis: Axes, least: float) -> None:
    """Keep one example, or the last digit of a loss, from filling the whole height."""
    low, high = axis.get_ylim()
    more = max(least - (high - low), 0) / 2
    axis.set_ylim(low - more, high + more)


def mean_curve(method: MethodResults) -> tuple[Any, Any, Any]:
    """Updates (m,) that every seed evaluated at, mean loss (m,) and standard deviation (m,).

    Seeds that stop early have fewer; a mean over those that are left would jump.
    """
    curves = [{p.update: p.pick_loss for p in c.curve.points} for c in method.cells]
    shared = sorted(set.intersection(*(set(curve) for curve in curves)))
    losses = np.array([[curve[update] for update in shared] for curve in curves])
    sd = losses.std(axis=0, ddof=1) if len(curves) > 1 else np.zeros(len(shared))
    return np.array(shared), losses.mean(axis=0), sd


def _heat_map(axis: Axes, method: MethodResults) -> None:
    kinds = _kinds(method)
    rows = method.plan.reason.scores
    values = np.array([[row.scores.get(kind, np.nan) for kind in kinds] for row in rows])
    shades, dark = _shades(values)
    axis.imshow(shades, cmap="cividis", vmin=0, vmax=1, aspect="auto", origin="lower")
    for (y, x), value in np.ndenumerate(values):
        chosen = kinds[x] in map(str, modules_of(rows[y].chosen))
        text = f"{value:.3g}" if np.isfinite(value) else "–"
        weight = "bold" if chosen else "normal"
        colour = "white" if dark[y, x] else "black"
        axis.text(x, y, text, ha="center", va="center", size=9, weight=weight, color=colour)
        if chosen:
            _box(axis, x, y, fill=False, edgecolor="#D55E00", linewidth=2.5)
    axis.set_xticks(range(len(kinds)), kinds)
    criterion = method.plan.reason.criterion or method.plan.reason.rule
    axis.set_title(f"{method.name}\n({criterion})", size=10)


def _shades(values: Any) -> tuple[Any, Any]:
    """Values as shades from 0 to 1, and which are too dark for black print.

    By rank, since criteria differ in scale by orders of magnitude between kinds.
    """
    flat = np.unique(values[np.isfinite(values)])
    ranks = np.searchsorted(flat, values) / max(len(flat) - 1, 1)
    shades = np.where(np.isfinite(values), ranks, np.nan)
    return shades, shades < 0.45


def _plan_strip(axis: Axes, methods: Sequence[MethodResults]) -> None:
    for x, method in enumerate(methods):
        for y, choice in enumerate(method.plan.layers):
            full = method.plan.full
            colours = [KIND_COLOURS[module.kind] for module in modules_of(choice)]
            colours = colours or [FULL_COLOUR if full else NONE_COLOUR]
            for part, colour in enumerate(colours):
                _box(axis, x, y, part, len(colours), facecolor=colour)
            word = "F" if full else letters(choice)
            axis.text(x, y, word, ha="center", va="center", size=9, color="black")
    axis.set_xlim(-0.5, len(methods) - 0.5)
    names = [method.name for method in methods]
    axis.set_xticks(range(len(methods)), names, rotation=45, ha="right")
    used = {kind for method in methods for kind in method.plan.kinds}
    words = [WORDS[kind] for kind in WORDS if kind in USUAL or kind in used]
    axis.set_title("plans\n" + ", ".join(words), size=10)


def _box(axis: Axes, x: int, y: int, part: int = 0, parts: int = 1, **style: Any) -> None:
    """A cell, or one of several parts of it from the left."""
    width = 0.92 / parts
    corner = (x - 0.46 + part * width, y - 0.44)
    axis.add_patch(matplotlib.patches.Rectangle(corner, width, 0.88, **style))


def _layer_axis(axis: Axes, layers: int) -> None:
    axis.set_ylim(-0.5, layers - 0.5)
    axis.set_yticks(range(layers))
    axis.set_ylabel("layer (0: input side)")
    axis.grid(visible=False)
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)


def _kinds(method: MethodResults) -> list[str]:
    """The kinds that the scores name, in their order there."""
    return list(dict.fromkeys(kind for row in method.plan.reason.scores for kind in row.scores))
