"""Every method against the best baseline that uses one kind everywhere, and what it is worth.

A comparison is worth something where the methods learnt: where they are above the best constant
answer and above the head alone, and were not left at their untrained start.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np

from fishpal.metrics import metric
from fishpal.params.report_options import ReportOptions
from fishpal.reporting.bootstrap import Bootstrap, Difference, Score, level_of_pairs
from fishpal.reporting.grid import MethodResults, TaskResults
from fishpal.reporting.markdown import code, escape


@dataclass(frozen=True)
class Comparison:
    """One headline split of one task, on the main metric.

    Attributes:
        scores: of every method.
        constant, floor: the answer that scores best if given to every example, and its score.
        learnt: trained methods that are shown to be above the constant answer.
        above_head: those above the method that trains the head alone, where the grid has it.
        best: the trained method of the highest mean score; None where none learnt.
        ties: the other trained methods that no difference to the best is shown for.
        baseline: the best uniform method that was trained; None for the reason in `nothing`.
        differences: every other method's score minus the baseline's.
        head: the method that trains the head alone, where the grid has it.
    """

    split: str
    scores: dict[str, Score]
    constant: str
    floor: Score
    learnt: tuple[str, ...]
    above_head: tuple[str, ...]
    best: str | None
    ties: tuple[str, ...]
    baseline: str | None
    nothing: str
    differences: dict[str, Difference]
    head: str | None

    @property
    def greyed(self) -> str:
        """Why the comparison says nothing of the methods; empty where it does."""
        if not self.learnt:
            return self.nothing
        if self.head and len(self.scores) > 1 and not self.above_head:
            return f"no method is shown to be above {code(self.head)}, which has no modules"
        return ""


@dataclass(frozen=True)
class TaskReport:
    """A task's results with what the report makes of them.

    `equal` are methods whose trainings are another's over again → that other.
    """

    results: TaskResults
    comparisons: tuple[Comparison, ...]
    equal: dict[str, str]

    @classmethod
    def of(cls, results: TaskResults, options: ReportOptions) -> Self:
        comparisons = (compare(results, split, options) for split in results.headline)
        return cls(results, tuple(comparisons), equal_plans(results.methods))

    def place(self, comparison: Comparison) -> str:
        """The task, with the split where it has several headline ones."""
        name = code(self.results.name)
        return name if len(self.comparisons) == 1 else f"{name} {escape(comparison.split)}"


def compare(results: TaskResults, split: str, options: ReportOptions) -> Comparison:
    """Compare on the main metric.

    The baseline is the best of the uniform methods on the very scores that are reported: picked
    in hindsight, which favours it. It is therefore the hardest to beat. Ties go to uniform
    methods, then to the first in the grid's order.
    """
    labels, methods = results.labels[split], results.methods
    bootstrap = Bootstrap(metric(results.metric), labels, results.classes, options)
    scores = {method.name: bootstrap.score(method.predictions(split)) for method in methods}
    answer, constant = _constant(results, split)
    floor = bootstrap.score(np.full((len(methods[0].cells), len(labels)), answer))
    trained = [method.name for method in methods if not method.kept_start]
    learnt = tuple(name for name in _above(scores, floor) if name in trained)
    plain = (method for method in methods if not method.plan.compresses)
    uniform = [method.name for method in plain if method.rule == "uniform"]
    head = next((method.name for method in methods if method.rule == "none"), None)
    baselines = [name for name in uniform if name in trained]
    nothing = ""
    if not trained:
        nothing = "every method kept its untrained start"
    elif not learnt:
        nothing = f"no method is shown to be above {constant} ({floor.mean:.4f})"
    elif not baselines:
        kept = "every single-kind baseline kept its untrained start"
        nothing = kept if uniform else "the grid has no single-kind baseline"
    best = _best(scores, [*baselines, *trained]) if learnt else None
    baseline = None if nothing else _best(scores, baselines)
    to_best = _minus(scores, best)
    return Comparison(
        split=split,
        scores=scores,
        constant=constant,
        floor=floor,
        learnt=learnt,
        above_head=_above({n: scores[n] for n in learnt}, scores[head]) if head else (),
        best=best,
        ties=tuple(n for n in trained if n in to_best and not to_best[n].excludes_zero),
        baseline=baseline,
        nothing=nothing,
        differences=_minus(scores, baseline),
        head=head,
    )


def equal_plans(methods: Iterable[MethodResults]) -> dict[str, str]:
    """Methods with another's plan → that other: a uniform method, or else the first.

    What training reads is compared, not how the plan was found.
    """
    first: dict[str, str] = {}
    found = {}
    for method in sorted(methods, key=lambda method: method.rule != "uniform"):
        data = method.plan.to_json()
        what = repr([value for key, value in data.items() if key not in ("method", "reason")])
        if first.setdefault(what, method.name) != method.name:
            found[method.name] = first[what]
    return found


def _constant(results: TaskResults, split: str) -> tuple[float, str]:
    """The best constant answer in hindsight, which is the hardest to beat, and its name."""
    labels, classes = results.labels[split], results.classes
    if results.task.labels is None:  # a correlation takes all constants alike
        return float(labels.mean()), "the mean prediction"
    score = metric(results.metric)
    answer = max(range(classes), key=lambda c: score(labels, np.full_like(labels, c), classes))
    return answer, f"the constant answer “{escape(results.task.labels[answer])}”"


def _best(scores: dict[str, Score], names: Iterable[str]) -> str:
    return max(names, key=lambda name: scores[name].mean)


def _minus(scores: dict[str, Score], name: str | None) -> dict[str, Difference]:
    """The other scores minus that one's."""
    others = {} if name is None else scores
    level = level_of_pairs([*others.values()]) if others else None
    return {n: s.minus(scores[name], level) for n, s in others.items() if name and n != name}


def _above(scores: dict[str, Score], other: Score) -> tuple[str, ...]:
    """Those of which these very trainings, whatever other seeds do, are shown to be above."""
    return tuple(name for name, score in scores.items() if score.is_above(other))
