"""The report's tables, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from fishpal.records.plan import Plan
from fishpal.reporting.comparison import Comparison
from fishpal.reporting.figures import LETTERS
from fishpal.reporting.grid import TaskResults
from fishpal.reporting.markdown import code, count, escape, mean_sd, parameters, table

COMPARISON_HEADER = [
    "method",
    "score (mean ± sd)",
    "difference to the best single kind",
    "trainable",
    "kept",
    "total",
    "training s",
    "selection s",
]


def comparison_table(results: TaskResults, comparison: Comparison) -> str:
    """Scores, differences, parameters and seconds: one row a method, in the grid's order."""
    rows = []
    for method in results.methods:
        scores = method.scores(comparison.split, results.metric).tolist()
        encoder, numbers = method.plan.encoder.parameters, method.parameters
        cells = [parameters(n, encoder) for n in (numbers.trainable, numbers.kept, numbers.total)]
        score = f"{mean_sd(scores)} ({count(len(scores), 'seed')})"
        seconds = [f"{method.training_seconds:.1f}", _seconds(method.selection_seconds)]
        difference = difference_text(comparison, method.name)
        rows.append([code(method.name), score, difference, *cells, *seconds])
    return table(COMPARISON_HEADER, rows)


def difference_text(comparison: Comparison, method: str) -> str:
    """A difference with its interval, in bold where it excludes zero; "—" for the baseline."""
    found = comparison.differences.get(method)
    if found is None:
        return "—"
    text = f"{found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
    return f"**{text}**" if found.excludes_zero else f"{text}, no difference shown"


def metrics_table(results: TaskResults) -> str:
    """Every metric and the loss on every evaluation split, mean ± standard deviation."""
    names = [*results.task.metrics, "loss"]
    columns = [(split, name) for split in results.labels for name in names]
    header = ["method", *(f"{escape(split)}: {escape(name)}" for split, name in columns)]
    rows = [
        [code(method.name), *(mean_sd(method.scores(*column).tolist()) for column in columns)]
        for method in results.methods
    ]
    return table(header, rows)


def plan_lines(results: TaskResults) -> str:
    """The plan of each method, from the layer next to the input to the last."""
    lines = [
        f"- {code(method.name)} ({_rule(method.plan)}): {_layers(method.plan)}"
        for method in results.methods
    ]
    return "\n".join(lines)


def score_tables(results: TaskResults) -> Iterator[tuple[str, str]]:
    """A caption and a table of scores, layer × kind, for each method that has scores."""
    for method in results.methods:
        scores = method.plan.reason.scores
        if scores:
            kinds = list(dict.fromkeys(kind for row in scores for kind in row.scores))
            rows = [
                [str(row.layer), *(_score(row.scores, kind, row.chosen) for kind in kinds)]
                for row in scores
            ]
            header = ["layer", *(escape(kind) for kind in kinds)]
            yield f"Scores of {code(method.name)} ({_rule(method.plan)}):", table(header, rows)


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f}" if seconds else "0"


def _rule(plan: Plan) -> str:
    criterion = plan.reason.criterion
    rule = escape(plan.reason.rule)
    return rule if criterion is None else f"{rule} {escape(criterion)}"


def _layers(plan: Plan) -> str:
    if plan.full:
        return "the whole encoder is trained"
    return code(" ".join(LETTERS[kind] for kind in plan.layers))


def _score(scores: dict[str, float], kind: str, chosen: str | None) -> str:
    if kind not in scores:
        return "–"
    text = f"{scores[kind]:.4g}"
    return f"**{text}**" if kind == chosen else text
