"""Every method against the best baseline that uses one kind everywhere."""

from __future__ import annotations

from dataclasses import dataclass

from fishpal.metrics import metric
from fishpal.params.options import ReportOptions
from fishpal.reporting.bootstrap import Difference, paired_difference
from fishpal.reporting.grid import MethodResults, TaskResults


@dataclass(frozen=True)
class Comparison:
    """One headline split of one task.

    Attributes:
        baseline: the uniform method with the highest mean score, None where the grid has none.
        differences: every other method's score minus the baseline's.
    """

    split: str
    baseline: str | None
    differences: dict[str, Difference]


def compare(results: TaskResults, split: str, options: ReportOptions) -> Comparison:
    """Compare on the main metric.

    The baseline is the best of the uniform methods on the very scores that are reported: picked
    in hindsight, which favours it. It is therefore the hardest to beat. Ties go to the first in
    the grid's order.
    """
    uniform = [method for method in results.methods if method.plan.reason.rule == "uniform"]
    if not uniform:
        return Comparison(split, None, {})
    best = max(uniform, key=lambda method: float(method.scores(split, results.metric).mean()))
    others = [method for method in results.methods if method is not best]
    found = {method.name: _difference(results, split, method, best, options) for method in others}
    return Comparison(split, best.name, found)


def _difference(
    results: TaskResults,
    split: str,
    method: MethodResults,
    baseline: MethodResults,
    options: ReportOptions,
) -> Difference:
    return paired_difference(
        metric(results.metric),
        results.labels[split],
        method.predictions(split),
        baseline.predictions(split),
        results.classes,
        resamples=options.resamples,
        confidence=options.confidence,
        seed=options.seed,
    )
