"""The report of a run: text, metrics, plot tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fishpal.common.files import write_csv, write_json, write_text
from fishpal.params.catalog import FilesTask, HubTask, PackageTask, Task
from fishpal.params.load import Params
from fishpal.params.options import ReportOptions
from fishpal.params.sections import Encoder, FolderEncoder, HubEncoder, PackageEncoder
from fishpal.reporting.cautions import cautions
from fishpal.reporting.comparison import Comparison, compare
from fishpal.reporting.figures import draw_curves, draw_parameters, draw_scores
from fishpal.reporting.grid import MethodResults, TaskResults
from fishpal.reporting.markdown import code, compact, count, escape, standard_deviation
from fishpal.reporting.tables import comparison_table, metrics_table, plan_lines, score_tables

DIGITS = 6
FIGURES = {"scores": draw_scores, "curves": draw_curves, "parameters": draw_parameters}
LEGEND = "`P` prefix, `A` adapter, `L` LoRA, `·` none; layers from the input to the output."


def write_report(folder: str | Path, params: Params, tasks: Sequence[TaskResults]) -> None:
    """Write `results.md`, `metrics.json`, `summary.csv`, `curves.csv` and `figures/*.png`."""
    folder = Path(folder)
    write_text(folder / "results.md", report_text(params, tasks))
    write_json(folder / "metrics.json", report_metrics(tasks))
    write_csv(folder / "summary.csv", ("cell", "task", "method", "score", "kept"), summary(tasks))
    header = ("task", "method", "seed", "update", "selection_loss")
    write_csv(folder / "curves.csv", header, curves(tasks))
    for results in tasks:
        for name, draw in FIGURES.items():
            draw(folder / "figures" / f"{results.name}_{name}.png", results)


def report_text(params: Params, tasks: Sequence[TaskResults]) -> str:
    """The whole of `results.md`."""
    parts = ["# Results", _overview(params, tasks), "## Warnings of the run"]
    found = cautions(tasks)
    parts.append("\n".join(f"- {line}" for line in found) if found else "None.")
    for results in tasks:
        parts += _task_parts(results, params.report)
    parts += ["## How to read this", _notes(params.report)]
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
        scores = method.scores(split, results.metric).tolist()
        key = f"{split}_{results.metric}"
        found[key] = round(sum(scores) / len(scores), DIGITS)
        if len(scores) > 1:
            found[f"{key}_sd"] = round(standard_deviation(scores), DIGITS)
    return found | {"kept": method.parameters.kept}


def _overview(params: Params, tasks: Sequence[TaskResults]) -> str:
    grid, facts = params.grid, tasks[0].methods[0].plan.encoder
    names = ", ".join(code(name) for name in grid.tasks)
    cells = len(grid.tasks) * len(grid.methods) * len(grid.seeds)
    seeds = ", ".join(str(seed) for seed in grid.seeds)
    return (
        f"{count(len(grid.methods), 'method')} on {count(len(grid.tasks), 'task')} ({names}),"
        f" {count(len(grid.seeds), 'seed')} ({seeds}): {count(cells, 'cell')}. The encoder is"
        f" {_encoder(params.encoder)}: type {escape(facts.type)}, {facts.layers} layers,"
        f" {facts.hidden} wide, {compact(facts.parameters)} parameters,"
        f" {params.encoder.pooling} pooling. Every method gets the same examples, head, seeds and"
        " schedule; checkpoints are picked on the selection part of train, and the splits"
        " reported here are used for nothing else."
    )


def _encoder(encoder: Encoder) -> str:
    source = encoder.source
    if isinstance(source, PackageEncoder):
        name = f"{source.folder} of package {source.package} {source.version}"
    elif isinstance(source, HubEncoder):
        name = f"{source.name} at revision {source.revision[:8]}"
    else:
        assert isinstance(source, FolderEncoder)
        name = f"the folder {Path(source.folder).name}"
    return f"{escape(name)} (licence {escape(source.licence)})"


def _task_parts(results: TaskResults, options: ReportOptions) -> list[str]:
    parts = [f"## Task {code(results.name)}", _data(results)]
    for split in results.headline:
        comparison = compare(results, split, options)
        parts += [f"### {results.metric} on {escape(split)}", _baseline(comparison, options)]
        parts.append(comparison_table(results, comparison))
    parts += [_image(results, "parameters"), "### Plans", plan_lines(results), LEGEND]
    for caption, scores in score_tables(results):
        parts += [f"{caption} the chosen kind in bold.", scores]
    parts += [_image(results, "scores"), "### Learning curves", _image(results, "curves")]
    return [*parts, "### All metrics", metrics_table(results)]


def _data(results: TaskResults) -> str:
    task = results.task
    sizes = [f"{escape(split)} {c.rows:,}" for split, c in results.counts.splits.items()]
    classes = (
        "a regression"
        if task.labels is None
        else f"classes {', '.join(escape(label) for label in task.labels)}"
    )
    text = " and ".join(escape(column) for column in task.columns.text)
    dropped = [f"{n:,} ({escape(why)})" for why, n in results.card.dropped.items() if n]
    if results.counts.removed_duplicates:
        number = results.counts.removed_duplicates
        dropped.append(f"{number:,} (of fit, since they stand in selection)")
    return (
        f"Source: {_source(task)}. Text {text}, label {escape(task.columns.label)}: {classes}."
        f" Examples used: {', '.join(sizes)}. Rows dropped: {', '.join(dropped) or 'none'}."
    )


def _source(task: Task) -> str:
    source = task.source
    if isinstance(source, PackageTask):
        name = f"{source.file} of package {source.package} {source.version}"
    elif isinstance(source, HubTask):
        name = f"{source.path} {source.name or ''} at revision {source.revision[:8]}"
    else:
        assert isinstance(source, FilesTask)
        name = "files " + ", ".join(Path(file).name for file in source.files.values())
    return f"{escape(name)} (licence {escape(source.licence)})"


def _baseline(comparison: Comparison, options: ReportOptions) -> str:
    if comparison.baseline is None:
        return "The grid has no single-kind baseline to compare with."
    return (
        f"The best single-kind baseline is {code(comparison.baseline)}. It is the one with the"
        " highest mean score in this very table, the strongest in hindsight and so the hardest"
        f" to beat. Differences have a {100 * options.confidence:g} % interval; one that"
        " excludes zero is in bold."
    )


def _image(results: TaskResults, name: str) -> str:
    return f"![{results.name}: {name}](figures/{results.name}_{name}.png)"


def _notes(options: ReportOptions) -> str:
    return "\n".join(
        [
            f"- Intervals: percentile intervals of {options.resamples:,} resamples of seeds and"
            " examples, paired between methods. They are not corrected for the number of"
            " comparisons and hold no variance of the training data or of the choice of a plan.",
            "- Standard deviations are over seeds.",
            "- trainable: parameters updated in training. kept: those that stay at inference"
            " beyond the frozen encoder, head included. total: encoder and kept. Shares are of"
            " the encoder's parameters.",
            "- Scores of candidates have their criterion's unit and compare within one table.",
            "- Seconds are wall clock on the machine that ran the stage, mean over seeds for"
            " training; they differ between runs. selection: measuring the Fisher table (once a"
            " task) and choosing the plan; 0 for methods that measure nothing.",
        ]
    )
