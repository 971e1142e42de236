"""`results.html`: the report as one file that asks nobody for anything.

The sentences and tables are the Markdown report's own, turned into HTML here; no text reaches
the page but through `as_html` or the template's escaping. Beside them the page holds what
Markdown cannot: tables that sort, a scatter whose axes are chosen, params, and why each plan.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from fishpal.params.catalog import Source
from fishpal.params.load import Params
from fishpal.params.sections import EncoderSource
from fishpal.reporting.canvas import figure_svg, ink
from fishpal.reporting.cautions import cautions
from fishpal.reporting.comparison import Comparison, TaskReport
from fishpal.reporting.figures import draw_curves, draw_scores, style_of
from fishpal.reporting.grid import MethodResults
from fishpal.reporting.html import as_html, html_table
from fishpal.reporting.markdown import escape, flat, letters, plain
from fishpal.reporting.overview import MARKS, overview_table, verdicts
from fishpal.reporting.prose import (
    baseline_line,
    data_line,
    introduction,
    notes,
    task_verdicts,
)
from fishpal.reporting.recipe import RATES, REASONS, length_line, rate_reasons, rates_table
from fishpal.reporting.tables import comparison_table, metrics_table

FILES = Path(__file__).parent / "page_files"
SIGNIFICANT = 6  # digits of a point in the scatter
# What the plan's own record is shown by elsewhere on the page.
SHOWN = ("version", "task", "method", "encoder", "layers", "learning_rate")
PATHS = ("files", "folder")  # of a source: on the machine, or told by its description


def page_html(params: Params, reports: Sequence[TaskReport]) -> str:
    """The whole page; the same results give the same bytes."""
    tasks = [report.results for report in reports]
    files = {name: (FILES / f"page.{name}").read_text("utf-8") for name in ("css", "js")}
    digest = base64.b64encode(hashlib.sha256(files["js"].encode()).digest()).decode()
    options: dict[str, Any] = {"trim_blocks": True, "lstrip_blocks": True}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FILES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        **options,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    return (
        environment.get_template("page.html").render(
            css=Markup(files["css"]),
            js=Markup(files["js"]),
            digest=digest,
            introduction=as_html(introduction(params, tasks)),
            warnings=[as_html(line) for line in cautions(params, tasks)],
            overview=html_table(overview_table(reports)),
            marks=as_html(MARKS),
            verdicts=[as_html(line) for line in verdicts(reports)],
            tasks=[_task(report) for report in reports],
            params=_params(params),
            rates=RATES,
            reasons=REASONS,
            notes=[as_html(line) for line in notes(params.report)],
        )
        + "\n"
    )


def _task(report: TaskReport) -> dict[str, Any]:
    results = report.results
    return {
        "name": results.name,
        "verdicts": [as_html(line) for line in task_verdicts(report)],
        "data": as_html(data_line(results)),
        "comparisons": [
            {
                "title": as_html(f"{results.metric} on {escape(each.split)}"),
                "baseline": as_html(baseline_line(each)),
                "greyed": bool(each.greyed),
                "table": html_table(comparison_table(report, each)),
                "chart": _chart(report, each),
            }
            for each in report.comparisons
        ],
        "scores": Markup(figure_svg(draw_scores, report)),
        "curves": Markup(figure_svg(draw_curves, report)),
        "length": as_html(length_line(results)),
        "rates": html_table(rates_table(results)),
        "rate_reasons": html_table(reasons) if (reasons := rate_reasons(results)) else "",
        "plans": [_why(method, report.equal) for method in results.methods],
        "loss": results.loss,
        "metrics": html_table(metrics_table(results)),
    }


def _chart(report: TaskReport, comparison: Comparison) -> dict[str, Any]:
    """What the scatter draws: axes by key, the first two chosen, and a point a method."""
    results, names = report.results, [method.name for method in report.results.methods]
    axes = {
        "kept": "parameters kept at inference",
        "score": f"{results.metric} on {plain(comparison.split)}",
        "loss": f"loss on {plain(comparison.split)}",
        "trainable": "parameters trained",
        "training": "training seconds",
        "selection": "selection seconds",
    }
    points = []
    for method in results.methods:
        score = comparison.scores[method.name]
        values = {
            "kept": method.parameters.kept,
            "score": score.mean,
            "loss": float(method.scores(comparison.split, "loss").mean()),
            "trainable": method.parameters.trainable,
            "training": method.training_seconds,
            "selection": method.selection_seconds,
        }
        interval = [float(f"{end:.{SIGNIFICANT}g}") for end in score.interval()]
        points.append(
            {"name": method.name, "colour": ink(style_of(method.name, names)["color"])}
            | {key: float(f"{value:.{SIGNIFICANT}g}") for key, value in values.items()}
            | {"interval": interval, "untrained": method.kept_start}
        )
    return {"axes": axes, "points": points}


def _why(method: MethodResults, equal: Mapping[str, str]) -> dict[str, Any]:
    """A method's plan, layer by layer, and all that its record says of how it came about."""
    data = {key: value for key, value in method.plan.to_json().items() if key not in SHOWN}
    for shown in ("scores", "rates"):  # by the heat map, and the rates' own table
        data["reason"].pop(shown, None)
    layers = "full" if method.plan.full else " ".join(map(letters, method.plan.layers))
    facts = [(plain(key), plain(value)) for key, value in flat(data)]
    return {"name": method.name, "layers": layers, "equal": equal.get(method.name), "facts": facts}


def _params(params: Params) -> list[tuple[str, list[tuple[str, str]]]]:
    """The params of the run, section by section, without any path of the machine."""
    tasks = {f"catalog.{name}": params.task(name) for name in params.grid.tasks}
    methods = {name: asdict(params.method(name)) for name in params.grid.methods}
    sourced = {name: asdict(each) | _source(each.source) for name, each in tasks.items()}
    encoder = asdict(params.encoder) | _source(params.encoder.source)
    rest = ("tokenize", "modules", "head", "fisher", "select", "train", "evaluate", "report")
    sections = {"grid": asdict(params.grid), "encoder": encoder} | sourced | {"methods": methods}
    sections |= {name: asdict(getattr(params, name)) for name in rest}
    return [
        (name, [(plain(key), plain(value)) for key, value in flat(section)])
        for name, section in sections.items()
    ]


def _source(source: Source | EncoderSource) -> dict[str, Any]:
    own = {k: v for k, v in asdict(source).items() if k not in (*PATHS, "licence")}
    described = {"source": source.describe(), "licence": source.licence}
    return described | {f"source.{key}": value for key, value in own.items()}
