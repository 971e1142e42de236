"""All tasks at a glance: task × method, and a verdict a task and over all."""

from collections.abc import Sequence

from fishpal.reporting.comparison import Comparison, TaskReport
from fishpal.reporting.grid import MethodResults
from fishpal.reporting.markdown import code, codes, table

MARKS = (
    "Mean over seeds. Bold: the best of the row. ≈: no difference to it is shown. Italic: not"
    " shown to be above the constant answer. †: kept the untrained start."
)


def overview_table(reports: Sequence[TaskReport]) -> str:
    """One row a task and headline split, one column a method of the grid."""
    methods = [code(method.name) for method in reports[0].results.methods]
    rows = [
        [
            f"{report.place(each)}: {report.results.metric}",
            *(_cell(each, method) for method in report.results.methods),
            f"{each.floor.mean:.4f}",
        ]
        for report in reports
        for each in report.comparisons
    ]
    return table(["task", *methods, "constant answer"], rows)


def _cell(comparison: Comparison, method: MethodResults) -> str:
    text = f"{comparison.scores[method.name].mean:.4f}"
    if method.name == comparison.best:
        text = f"**{text}**"
    if method.name not in comparison.learnt:
        text = f"*{text}*"
    tie = " ≈" if method.name in comparison.ties else ""
    return f"{text}{tie}{' †' if method.kept_start else ''}"


def verdicts(reports: Sequence[TaskReport]) -> list[str]:
    """A line a task and headline split, and one over all where there are several."""
    rows = [(report, comparison) for report in reports for comparison in report.comparisons]
    lines = [f"{report.place(each)}: {verdict(report, each)}" for report, each in rows]
    return lines if len(rows) == 1 else [*lines, _over_all(rows)]


def verdict(report: TaskReport, comparison: Comparison) -> str:
    """Whether the methods learnt, which is best, and which plans are equal."""
    words = [_learnt(report, comparison)]
    if comparison.best:
        ties = codes(comparison.ties)
        beside = f"; no difference to it is shown for {ties}" if ties else ""
        words.append(f"Best is {code(comparison.best)}{beside}.")
    words += [f"{code(name)}'s plan equals {code(other)}." for name, other in report.equal.items()]
    return " ".join(words)


def _learnt(report: TaskReport, comparison: Comparison) -> str:
    """Which methods are beyond the constant answer, and beyond the head alone."""
    names = [method.name for method in report.results.methods]
    heads = [method.name for method in report.results.methods if method.rule == "none"]
    others = [name for name in names if name not in heads]
    if not comparison.learnt:
        return f"Nothing was learnt: {comparison.nothing}."
    floor = f"{comparison.constant} ({comparison.floor.mean:.4f})"
    text = f"Above {floor}: {_share(comparison.learnt, names, 'methods')}"
    if heads and others:
        some = _share(comparison.above_head, others, "others")
        none = f"none of {len(others)} others, so that comparing them says nothing"
        text += f"; above {code(heads[0])}: {some if comparison.above_head else none}"
    return f"{text}."


def _share(found: Sequence[str], names: Sequence[str], noun: str) -> str:
    missing = codes([name for name in names if name not in found])
    some = f"{len(found)} of {len(names)} {noun}, not {missing}"
    return some if missing else f"all {len(names)} {noun}"


def _over_all(rows: Sequence[tuple[TaskReport, Comparison]]) -> str:
    """How often the methods learnt, and how each of them did."""
    learnt = sum(bool(each.learnt) for _, each in rows)
    names = [method.name for method in rows[0][0].results.methods]
    first = {n: sum(n == each.best or n in each.ties for _, each in rows) for n in names}
    ranked = sorted(names, key=lambda name: -first[name])
    words = [f"Over all: something was learnt in {learnt} of {len(rows)} rows."]
    if learnt:
        listed = ", ".join(f"{code(name)} {first[name]}" for name in ranked)
        words.append(f"Best, or no difference to the best shown: {listed}.")
    for method in rows[0][0].results.methods:
        if method.rule == "criterion":
            words.append(_against_baselines(method.name, rows))
    return " ".join(words)


def _against_baselines(name: str, rows: Sequence[tuple[TaskReport, Comparison]]) -> str:
    found = dict.fromkeys(("above", "below", "no difference shown", "the same plan"), 0)
    for report, comparison in rows:
        difference = comparison.differences.get(name)
        if difference and report.equal.get(name) == comparison.baseline:
            found["the same plan"] += 1
        elif difference and difference.excludes_zero:
            found["above" if difference.low > 0 else "below"] += 1
        elif difference:
            found["no difference shown"] += 1
    listed = ", ".join(f"{what} {number}" for what, number in found.items())
    return f"{code(name)} against the best single kind: {listed}."
