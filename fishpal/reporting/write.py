"""The report of a run: text, metrics, plot tables and figures."""

from collections.abc import Sequence
from pathlib import Path
from statistics import stdev
from typing import Any

from fishpal.common.files import write_csv, write_json, write_text
from fishpal.params.catalog import Source
from fishpal.params.load import Params
from fishpal.params.options import ReportOptions
from fishpal.params.sections import EncoderSource
from fishpal.reporting.cautions import cautions
from fishpal.reporting.comparison import Comparison, TaskReport
from fishpal.reporting.figures import draw_curves, draw_parameters, draw_scores
from fishpal.reporting.grid import MethodResults, TaskResults
from fishpal.reporting.markdown import code, codes, compact, count, escape
from fishpal.reporting.overview import MARKS, overview_table, verdict, verdicts
from fishpal.reporting.recipe import recipe
from fishpal.reporting.tables import comparison_table, metrics_table, plan_lines

DIGITS = 6
LONGEST_SOURCE = 200  # characters
FIGURES = {"scores": draw_scores, "curves": draw_curves, "parameters": draw_parameters}
LEGEND = "`P` prefix, `A` adapter, `L` LoRA, `·` none; layers from the input to the output."


def write_report(folder: str | Path, params: Params, tasks: Sequence[TaskResults]) -> None:
    """Write `results.md`, `metrics.json`, `summary.csv`, `curves.csv` and `figures/*.png`."""
    folder = Path(folder)
    reports = [TaskReport.of(results, params.report) for results in tasks]
    write_text(folder / "results.md", report_text(params, reports))
    write_json(folder / "metrics.json", report_metrics(tasks))
    write_csv(folder / "summary.csv", ("cell", "task", "method", "score", "kept"), summary(tasks))
    header = ("task", "method", "seed", "update", "selection_loss")
    write_csv(folder / "curves.csv", header, curves(tasks))
    for report in reports:
        for name, draw in FIGURES.items():
            draw(folder / "figures" / f"{report.results.name}_{name}.png", report)


def report_text(params: Params, reports: Sequence[TaskReport]) -> str:
    """The whole of `results.md`."""
    warnings = cautions([report.results for report in reports])
    parts = ["# Results", _grid(params, reports[0].results), "## Overview", overview_table(reports)]
    parts += [MARKS, _bullets(verdicts(reports)), "## Warnings", _bullets(warnings or ["None."])]
    for report in reports:
        parts += _task_parts(report)
    parts += ["## How to read this", _bullets(_notes(params.report))]
    return "\n\n".join(parts) + "\n"


def report_metrics(tasks: Sequence[TaskResults]) -> dict[str, Any]:
    """Task → method → mean and standard deviation of the main metric by headline split, kept.

    Without seconds, so that two runs of the same code and params give the same file.
    """
    return {
        results.name: {method.name: _metrics_of(results, method) for method in results.methods}
        for results in tasks
    }


def summary(tasks: Sequence[TaskResults]) -> list[list[Any]]:
    """Rows cell, task, method, score, kept: one a task, headline split and method."""
    rows = []
    for results in tasks:
        for split in results.headline:
            place = results.name if len(results.headline) == 1 else f"{results.name} {split}"
            for method in results.methods:
                score = round(float(method.scores(split, results.metric).mean()), DIGITS)
                kept = method.parameters.kept
                rows.append([f"{place} {method.name}", results.name, method.name, score, kept])
    return rows


def curves(tasks: Sequence[TaskResults]) -> list[list[Any]]:
    """Rows task, method, seed, update, selection_loss: one an evaluation."""
    return [
        [results.name, method.name, cell.seed, update, round(loss, DIGITS)]
        for results in tasks
        for method in results.methods
        for cell in method.cells
        for update, loss in zip(cell.curve.updates, cell.curve.losses, strict=True)
    ]


def _metrics_of(results: TaskResults, method: MethodResults) -> dict[str, float | int]:
    found: dict[str, float | int] = {}
    for split in results.headline:
        scores, key = method.scores(split, results.metric).tolist(), f"{split}_{results.metric}"
        found[key] = round(sum(scores) / len(scores), DIGITS)
        if len(scores) > 1:
            found[f"{key}_sd"] = round(stdev(scores), DIGITS)
    return found | {"kept": method.parameters.kept}


def _grid(params: Params, results: TaskResults) -> str:
    grid, facts, source = params.grid, results.methods[0].plan.encoder, params.encoder.source
    cells = len(grid.tasks) * len(grid.methods) * len(grid.seeds)
    seeds = ", ".join(map(str, grid.seeds))
    return (
        f"{count(len(grid.methods), 'method')} on {count(len(grid.tasks), 'task')}"
        f" ({codes(grid.tasks)}), {count(len(grid.seeds), 'seed')} ({seeds}):"
        f" {count(cells, 'cell')}. The encoder is {_source(source)}: type {escape(facts.type)},"
        f" {facts.layers} layers, {facts.hidden} wide, {compact(facts.parameters)} parameters,"
        f" {params.encoder.pooling} pooling. Every method gets the same examples, head, seeds and"
        " schedule; checkpoints are picked on the selection part of train, and the splits"
        " reported here are used for nothing else."
    )


def _source(source: Source | EncoderSource) -> str:
    return f"{escape(source.describe(), LONGEST_SOURCE)} (licence {escape(source.licence)})"


def _task_parts(report: TaskReport) -> list[str]:
    results = report.results
    parts = [f"## Task {code(results.name)}", _verdicts(report), _data(results)]
    for comparison in report.comparisons:
        parts.append(f"### {results.metric} on {escape(comparison.split)}")
        parts += [_baseline(comparison), comparison_table(report, comparison)]
    parts += [_image(results, "parameters"), "### Plans", plan_lines(report), LEGEND]
    parts += [_image(results, "scores"), "### Length and rates", recipe(results)]
    parts += ["### Learning curves", _image(results, "curves")]
    return [*parts, "### All metrics", f"The loss is {results.loss}.", metrics_table(results)]


def _verdicts(report: TaskReport) -> str:
    found = [(escape(each.split), verdict(report, each)) for each in report.comparisons]
    return found[0][1] if len(found) == 1 else _bullets([f"{s}: {text}" for s, text in found])


def _data(results: TaskResults) -> str:
    task, number = results.task, results.counts.removed_duplicates
    sizes = [f"{escape(split)} {c.rows:,}" for split, c in results.counts.splits.items()]
    labels = [escape(label) for label in task.labels or ()]
    text = " and ".join(escape(column) for column in task.columns.text)
    dropped = [f"{n:,} ({escape(why)})" for why, n in results.card.dropped.items() if n]
    if number:
        dropped.append(f"{number:,} (of fit, since they stand in selection)")
    return (
        f"Source: {_source(task.source)}. Text {text}, label {escape(task.columns.label)}:"
        f" {'classes ' + ', '.join(labels) if labels else 'a regression'}."
        f" Examples used: {', '.join(sizes)}. Rows dropped: {', '.join(dropped) or 'none'}."
    )


def _baseline(comparison: Comparison) -> str:
    if comparison.baseline is None:
        return f"The comparison compares nothing: {comparison.nothing}."
    return f"The best single-kind baseline is {code(comparison.baseline)}."


def _image(results: TaskResults, name: str) -> str:
    return f"![{results.name}: {name}](figures/{results.name}_{name}.png)"


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _notes(options: ReportOptions) -> list[str]:
    return [
        "The best single-kind baseline is the one with the highest mean score in its very table,"
        " the strongest in hindsight and so the hardest to beat. So is the constant answer: the"
        " one class, or number, that scores best if given to every example.",
        f"Intervals: {100 * options.confidence:g} % percentile intervals of"
        f" {options.resamples:,} resamples of seeds and examples, paired between methods. A"
        " difference is called one, and in bold, where its interval excludes zero. They are not"
        " corrected for the number of comparisons and hold no variance of the training data or of"
        " the choice of a plan.",
        "Standard deviations are over seeds.",
        "trainable: parameters updated in training. kept: those that stay at inference beyond the"
        " frozen encoder, head included. total: encoder and kept. Shares are of the encoder's"
        " parameters.",
        "Scores of candidates have their criterion's unit and compare within one picture.",
        "Seconds are wall clock on the machine that ran the stage, mean over seeds for training;"
        " they differ between runs. selection: measuring the Fisher table (once a task), where the"
        " plan or its rates come from it; the pilot, where it chose the kind; and choosing. The"
        " pilot's seconds are not counted where it gave the length alone, which all methods share.",
    ]
