"""The report's sentences that both the Markdown and the page show, each in Markdown."""

from collections.abc import Sequence

from fishpal.common.kinds import HeadInit
from fishpal.params.catalog import Source, selection_group
from fishpal.params.load import Params
from fishpal.params.report_options import ReportOptions
from fishpal.params.sections import EncoderSource
from fishpal.reporting.comparison import Comparison, TaskReport
from fishpal.reporting.grid import TaskResults, devices
from fishpal.reporting.markdown import code, codes, compact, count, escape
from fishpal.reporting.overview import verdict

LONGEST_SOURCE = 200  # characters


def introduction(params: Params, tasks: Sequence[TaskResults]) -> str:
    """What was compared, in which encoder, by which protocol."""
    grid, facts, source = params.grid, tasks[0].methods[0].plan.encoder, params.encoder.source
    cells = len(grid.tasks) * len(grid.methods) * len(grid.seeds)
    seeds = ", ".join(map(str, grid.seeds))
    encoder = (
        f"The encoder is {describe_source(source)}: type {escape(facts.type)}, {facts.layers}"
        f" layers, {facts.hidden} wide, {compact(facts.parameters)} parameters,"
        f" {params.encoder.pooling} pooling."
    )
    cells_of = [method.cells for results in tasks for method in results.methods]
    known = any(cell.device for each in cells_of for cell in each)
    trained = f" Trained on {', '.join(map(escape, devices(tasks)))}." if known else ""
    bare = [m.name for m in tasks[0].methods if m.plan.bare and params.head.init != HeadInit.PROBE]
    starts = f" ({codes(bare)}: the better of two starts, one of them a probe)" if bare else ""
    calibrated = params.train.pick == "refined" and params.train.train_head
    picked = "picked and calibrated" if calibrated else "picked"
    return (
        f"{count(len(grid.methods), 'method')} on {count(len(grid.tasks), 'task')}"
        f" ({codes(grid.tasks)}), {count(len(grid.seeds), 'seed')} ({seeds}):"
        f" {count(cells, 'cell')}. {encoder} Every method gets the same examples, head, seeds and"
        f" schedule{starts}; checkpoints are {picked} on the selection part of train, and the"
        f" splits reported here are used for nothing else.{trained}"
    )


def describe_source(source: Source | EncoderSource) -> str:
    """A source and its licence, without any path of the machine."""
    return f"{escape(source.describe(), LONGEST_SOURCE)} (licence {escape(source.licence)})"


def data_line(results: TaskResults) -> str:
    """Where a task's rows come from, and how many of them were used and dropped."""
    task, number = results.task, results.counts.removed_duplicates
    sizes = [f"{escape(split)} {c.rows:,}" for split, c in results.counts.splits.items()]
    labels = [escape(label) for label in task.labels or ()]
    group, cut = selection_group(task), task.source.split
    where = "in one part alone" if cut and cut.by == group else "in fit or in selection alone"
    together = f" Rows of one {escape(group)} stand {where}." if group else ""
    text = " and ".join(escape(column) for column in task.columns.text)
    text += ", which the head compares" if results.compares else ""
    dropped = [f"{n:,} ({escape(why)})" for why, n in results.card.dropped.items() if n]
    if number:
        dropped.append(f"{number:,} (of fit, since their texts or groups stand in selection)")
    return (
        f"Source: {describe_source(task.source)}. Text {text}, label {escape(task.columns.label)}:"
        f" {'classes ' + ', '.join(labels) if labels else 'a regression'}."
        f" Examples used: {', '.join(sizes)}. Rows dropped: {', '.join(dropped) or 'none'}."
        f"{together}{_precisions(results)}"
    )


def _precisions(results: TaskResults) -> str:
    """In which precisions cells were trained and evaluated, where one was not float32."""
    metrics = [cell.metrics for method in results.methods for cell in method.cells]
    both = [{m.precision for m in metrics}, {m.evaluated for m in metrics}]
    trained, evaluated = (" and ".join(sorted(found)) for found in both)
    if trained == evaluated:
        return "" if trained == "float32" else f" Trained and evaluated in {trained}."
    return f" Trained in {trained}, evaluated in {evaluated}."


def baseline_line(comparison: Comparison) -> str:
    """What the others are compared with, and whether the comparison says anything."""
    if comparison.baseline is None:
        return f"The comparison compares nothing: {comparison.nothing}."
    text = f"The best single-kind baseline is {code(comparison.baseline)}."
    if not comparison.greyed:
        return text
    return (
        f"{text} Greyed, since these differences say nothing of the methods: {comparison.greyed}."
    )


def task_verdicts(report: TaskReport) -> list[str]:
    """One a headline split, which it names where there are several."""
    found = [(escape(each.split), verdict(report, each)) for each in report.comparisons]
    return [found[0][1]] if len(found) == 1 else [f"{split}: {text}" for split, text in found]


def notes(options: ReportOptions) -> list[str]:
    """How the numbers are to be read."""
    return [
        "The best single-kind baseline is the one with the highest mean score in its very table,"
        " the strongest in hindsight and so the hardest to beat. So is the constant answer: the"
        " one class, or number, that scores best if given to every example.",
        f"Intervals: {100 * options.confidence:g} %, of {options.resamples:,} resamples of seeds"
        " and examples, paired between methods, and wider by what Student's quantile asks of so"
        " few seeds and by what comparing so many methods, the best in hindsight among them, asks"
        " (the largest of all pairs' differences in every resample). A difference is called one,"
        " and in bold, where its interval excludes zero. Intervals hold none of the variance of"
        " the training data or of the choice of a plan. Whether a method learnt is asked of its"
        " very trainings, over examples alone.",
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
