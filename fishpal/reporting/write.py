"""The report of a run: text, metrics, plot tables and figures."""

from collections.abc import Sequence
from pathlib import Path
from statistics import stdev
from typing import Any

from fishpal.common.choices import modules_of
from fishpal.common.files import write_csv, write_json, write_text
from fishpal.common.kinds import ModuleKind
from fishpal.params.load import Params
from fishpal.reporting.cautions import cautions
from fishpal.reporting.comparison import TaskReport
from fishpal.reporting.figures import draw_curves, draw_parameters, draw_scores
from fishpal.reporting.grid import MethodResults, TaskResults
from fishpal.reporting.markdown import code, escape, letters
from fishpal.reporting.overview import MARKS, overview_table, verdicts
from fishpal.reporting.page import page_html
from fishpal.reporting.prose import (
    baseline_line,
    data_line,
    introduction,
    notes,
    task_verdicts,
)
from fishpal.reporting.recipe import recipe
from fishpal.reporting.tables import comparison_table, metrics_table, plan_lines

DIGITS = 6
FIGURES = {"scores": draw_scores, "curves": draw_curves, "parameters": draw_parameters}
NAMES = {
    ModuleKind.PREFIX: "prefix", ModuleKind.ADAPTER: "adapter", ModuleKind.LORA: "LoRA",
    ModuleKind.BIAS: "bias", ModuleKind.IA3: "(IA)³",
}  # fmt: skip


def write_report(folder: str | Path, params: Params, tasks: Sequence[TaskResults]) -> None:
    """Write `results.md` and `.html`, `metrics.json`, `summary.csv`, `curves.csv`, `figures/`."""
    folder = Path(folder)
    reports = [TaskReport.of(results, params.report) for results in tasks]
    write_text(folder / "results.md", report_text(params, reports))
    write_text(folder / "results.html", page_html(params, reports))
    write_json(folder / "metrics.json", report_metrics(tasks))
    write_csv(folder / "summary.csv", ("cell", "task", "method", "score", "kept"), summary(tasks))
    header = ("task", "method", "seed", "update", "pick_loss")
    write_csv(folder / "curves.csv", header, curves(tasks))
    for report in reports:
        for name, draw in FIGURES.items():
            draw(folder / "figures" / f"{report.results.name}_{name}.png", report)


def report_text(params: Params, reports: Sequence[TaskReport]) -> str:
    """The whole of `results.md`."""
    tasks = [report.results for report in reports]
    warnings = cautions(params, tasks)
    parts = [
        "# Results",
        introduction(params, tasks),
        "## Overview",
        overview_table(reports),
    ]
    parts += [MARKS, _bullets(verdicts(reports)), "## Warnings", _bullets(warnings or ["None."])]
    for report in reports:
        parts += _task_parts(report)
    parts += ["## How to read this", _bullets(notes(params.report))]
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
    """Rows task, method, seed, update, pick_loss: one an evaluation."""
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


def _task_parts(report: TaskReport) -> list[str]:
    results = report.results
    parts = [f"## Task {code(results.name)}", _lines(task_verdicts(report)), data_line(results)]
    for comparison in report.comparisons:
        parts.append(f"### {results.metric} on {escape(comparison.split)}")
        parts += [baseline_line(comparison), comparison_table(report, comparison)]
    parts += [_image(results, "parameters"), "### Plans", plan_lines(report), legend(results)]
    parts += [_image(results, "scores"), "### Length and rates", recipe(results)]
    parts += ["### Learning curves", _image(results, "curves")]
    return [*parts, "### All metrics", f"The loss is {results.loss}.", metrics_table(results)]


def legend(results: TaskResults) -> str:
    """What the letters of its plans are."""
    choices = (choice for method in results.methods for choice in method.plan.layers)
    kinds = {module.kind for choice in choices for module in modules_of(choice)}
    known = [f"{code(letters(kind))} {name}" for kind, name in NAMES.items() if kind in kinds]
    return f"{', '.join([*known, '`·` none'])}; layers from the input to the output."


def _image(results: TaskResults, name: str) -> str:
    return f"![{results.name}: {name}](figures/{results.name}_{name}.png)"


def _lines(found: Sequence[str]) -> str:
    """One sentence as it is, several as a list."""
    return found[0] if len(found) == 1 else _bullets(found)


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
