"""The tables of a task, in Markdown."""

from fishpal.records.plan import Reason
from fishpal.reporting.comparison import Comparison, TaskReport
from fishpal.reporting.grid import MethodResults, TaskResults
from fishpal.reporting.markdown import code, count, escape, letters, mean_sd, parameters, table

NUMBERS = ("trainable", "kept", "total", "training s", "selection s")
COMPARISON_HEADER = ["method", "score (mean ± sd)", "difference to the best single kind", *NUMBERS]


def comparison_table(report: TaskReport, comparison: Comparison) -> str:
    """Scores, differences, parameters and seconds: a row a method in the grid's order, and one
    for the constant answer."""
    rows = []
    for method in report.results.methods:
        scores = method.scores(comparison.split, report.results.metric).tolist()
        encoder, numbers = method.plan.encoder.parameters, method.parameters
        cells = [parameters(n, encoder) for n in (numbers.trainable, numbers.kept, numbers.total)]
        score = f"{mean_sd(scores)} ({count(len(scores), 'seed')}{_untrained(method)})"
        select = method.selection_seconds
        seconds = [f"{method.training_seconds:.1f}", f"{select:.1f}" if select else "0"]
        difference = _difference(report, comparison, method.name)
        rows.append([code(method.name), score, difference, *cells, *seconds])
    floor = [comparison.constant.removeprefix("the "), f"{comparison.floor.mean:.4f}"]
    return table(COMPARISON_HEADER, [*rows, [*floor, *("—" for _ in COMPARISON_HEADER[2:])]])


def _untrained(method: MethodResults) -> str:
    if method.kept_start:
        return ", untrained"
    return f", {method.untrained} untrained" if method.untrained else ""


def _difference(report: TaskReport, comparison: Comparison, method: str) -> str:
    """With its interval, in bold where it excludes zero, in italics where the comparison says
    nothing; "—" where nothing is compared."""
    found, baseline = comparison.differences.get(method), comparison.baseline
    if found is None or baseline is None:
        return "—"
    if report.equal.get(method) == baseline:
        return f"its plan equals {code(baseline)}"
    text = f"{found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
    if comparison.greyed:
        return f"*{text}*"
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


def plan_lines(report: TaskReport) -> str:
    """The plan of each method, from the layer next to the input to the last."""
    lines = []
    for method in report.results.methods:
        equal = report.equal.get(method.name)
        plan = method.plan
        rule = " ".join(escape(each) for each in (plan.reason.rule, plan.reason.criterion) if each)
        layers = code(" ".join(map(letters, plan.layers)))
        what = "the whole encoder is trained" if plan.full else layers
        same = f", which equals {code(equal)}" if equal else ""
        note = f"; {escape(plan.reason.note)}" if plan.reason.note else ""
        more = note + _compressed(method) + _signal(plan.reason)
        lines.append(f"- {code(method.name)} ({rule}): {what}{same}{more}")
    return "\n".join(lines)


def _compressed(method: MethodResults) -> str:
    """What was made of its trained modules, if anything."""
    plan = method.plan
    if not plan.compresses:
        return ""
    how = f"margin {plan.margin:g}" if plan.compress is None else f"{plan.compress:g} of each kind"
    kept = dict.fromkeys(str(cell.metrics.parameters.kept) for cell in method.cells)
    found = f"{', '.join(kept)} parameters kept, head included"
    return f"; compressed once trained ({how}): {found}{', by seed' if len(kept) > 1 else ''}"


def _signal(reason: Reason) -> str:
    """Whether what the criterion saw is more than noise."""
    if reason.reliability is None or reason.note:
        return ""
    return f"; one half's gradients foretell the other's (z = {reason.reliability:.1f})"
