"""What a reader of the report should know before believing it: one line a kind of warning."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from fishpal.params.agreement import unread
from fishpal.params.load import Params
from fishpal.records.card import FAR
from fishpal.records.pilot import has_learnt
from fishpal.reporting.grid import TaskResults, devices
from fishpal.reporting.markdown import code, count, escape

FEWEST_EXAMPLES = 10  # of a class in a split, below which its score is noise
FEW_SEEDS = {
    1: "the intervals hold none of the variance between seeds and are too narrow",
    2: "how much seeds differ is guessed from two, and intervals are wide where they do",
}
TRUNCATED_SHARE = 0.01
MOST_NAMED = 6  # of one kind, in one task


def cautions(params: Params, tasks: Sequence[TaskResults]) -> list[str]:
    """The warnings of a run, each one line of Markdown; empty where there is nothing to say."""
    lines = []
    seeds = len(tasks[0].methods[0].cells)
    if seeds in FEW_SEEDS:
        fewest = len(FEW_SEEDS) + 1
        lines.append(f"{count(seeds, 'seed')}, fewer than {fewest}: {FEW_SEEDS[seeds]}.")
    methods = [params.method(name) for name in params.grid.methods]
    if keys := unread(methods, params.select):
        named = ", ".join(code(f"select.{key}") for key in keys)
        lines.append(f"{named}: set, and no method of the grid reads it.")
    if not params.train.train_head:
        lines.append("`train.train_head` is false: heads stay at their start, without a rate.")
    machines = devices(tasks)
    if len(machines) > 1:
        on = ", ".join(f"{count(n, 'cell')} on {escape(device)}" for device, n in machines.items())
        lines.append(f"Trained on machines of several kinds, which results depend on, too: {on}.")
    for title, details in KINDS.items():
        found = {results.name: list(details(results)) for results in tasks}
        listed = "; ".join(f"{code(name)} {_some(each)}" for name, each in found.items() if each)
        if listed:
            lines.append(f"{title}: {listed}.")
    return lines


def _some(found: Sequence[str]) -> str:
    more = [f"and {len(found) - MOST_NAMED} more"] if len(found) > MOST_NAMED else []
    return ", ".join([*found[:MOST_NAMED], *more])


def _overlaps(results: TaskResults) -> Iterator[str]:
    for pair, number in results.card.overlap.items():
        if number > 0:
            both = " and ".join(escape(split) for split in pair.split("/"))
            yield f"{count(number, 'text')} in {both}"


def _conflicts(results: TaskResults) -> Iterator[str]:
    if results.card.conflicts > 0:
        yield count(results.card.conflicts, "text")


def _rare_classes(results: TaskResults) -> Iterator[str]:
    for split, counts in results.counts.splits.items():
        for label, number in zip(results.card.labels or (), counts.labels or (), strict=False):
            if number < FEWEST_EXAMPLES:
                yield f"{escape(label)} ({number} in {escape(split)})"


def _truncated(results: TaskResults) -> Iterator[str]:
    for split, counts in results.counts.splits.items():
        if counts.truncated > TRUNCATED_SHARE * counts.rows:
            yield f"{100 * counts.truncated / counts.rows:.1f} % of {escape(split)}"


def _unread(results: TaskResults) -> Iterator[str]:
    for split, counts in results.counts.splits.items():
        if counts.unread:
            yield f"{counts.unread} of {counts.rows} in {escape(split)}"


def _far_labels(results: TaskResults) -> Iterator[str]:
    for split, counts in results.counts.splits.items():
        if counts.far is not None:
            yield f"{counts.far:g} in {escape(split)}"


def _no_better(results: TaskResults) -> Iterator[str]:
    """Against the most frequent class, or the mean, of the split itself: no constant beats it."""
    regression = results.task.labels is None
    for split in results.headline:
        labels = results.labels[split]

        def error(answers: Any, labels: Any = labels) -> float:
            return float(np.mean((answers - labels) ** 2 if regression else answers != labels))

        floor = error(labels.mean() if regression else np.bincount(labels).argmax())
        found = {m.name: error(m.predictions(split)) for m in results.methods}
        # equal means may differ in the last bit
        high = [f"{code(n)} {e:.4g}" for n, e in found.items() if e >= floor * (1 - 1e-12)]
        if len(high) == len(found) > 1:
            yield f"all methods on {escape(split)}"
        elif high:
            yield f"{', '.join(high)} against {floor:.4g} on {escape(split)}"


def _kept_start(results: TaskResults) -> Iterator[str]:
    return _methods(results, {method.name: method.untrained for method in results.methods})


def _never_lower(results: TaskResults) -> Iterator[str]:
    found = {
        method.name: sum(
            c.curve.best_update > 0 and min(c.curve.losses[1:]) >= c.curve.losses[0]
            for c in method.cells
            if not method.from_probe(c)
        )
        for method in results.methods
    }
    yield from _methods(results, found)


def _learnt_nothing(results: TaskResults) -> Iterator[str]:
    """Far from the method's best seed, too: of a weak task all are near the constant answer."""
    floor, found = results.pilot.constant_loss, dict[str, int]()
    for method in results.methods:
        losses = [min(cell.curve.losses) for cell in method.cells if cell.curve.best_update > 0]
        best = min(losses, default=floor)
        far = [x for x in losses if not has_learnt(x, floor) and x >= (floor + best) / 2]
        found[method.name] = len(far) if has_learnt(best, floor) else 0
    yield from _methods(results, found)


def _collapsed(results: TaskResults) -> Iterator[str]:
    found = {m.name: sum(cell.curve.collapsed for cell in m.cells) for m in results.methods}
    yield from _methods(results, found)


def _ended_early(results: TaskResults) -> Iterator[str]:
    if results.pilot.source == "pilot":  # which had waited until its loss was flat, or says so
        return
    ends = {
        method.name: sum(
            min(c.curve.losses[:-1], default=0) > c.curve.losses[-1] for c in method.cells
        )
        for method in results.methods
    }
    yield from _methods(results, ends)


def _still_falling(results: TaskResults) -> Iterator[str]:
    if not results.pilot.flat and results.pilot.learnt:
        yield f"at {max(arm.updates for arm in results.pilot.arms)} updates"


def _not_learnt(results: TaskResults) -> Iterator[str]:
    if not results.pilot.flat and not results.pilot.learnt:
        yield f"in {max(arm.updates for arm in results.pilot.arms)} updates"


def _methods(results: TaskResults, cells: Mapping[str, int]) -> Iterator[str]:
    """The methods with such cells, and how many of its seeds where not all."""
    seeds = len(results.methods[0].cells)
    if len(cells) > 1 and set(cells.values()) == {seeds}:
        yield "all methods"
        return
    for name, number in cells.items():
        if number:
            part = f" ({number} of {seeds} seeds)" if number < seeds else ""
            yield code(name) + part


KINDS: dict[str, Callable[[TaskResults], Iterator[str]]] = {
    "Texts that stand in two splits": _overlaps,
    "Texts of the raw table with two labels or more": _conflicts,
    f"Classes with fewer than {FEWEST_EXAMPLES} examples": _rare_classes,
    "Texts cut at `max_length`": _truncated,
    "Texts in which the tokenizer knows nothing": _unread,
    f"Labels more than {FAR} standard deviations from fit's mean, or few of them far from all"
    " others, which rule losses, what is picked or scores": _far_labels,
    "Not better than the majority class (share of errors), or than the mean prediction (squared"
    " error)": _no_better,
    "Kept the untrained start, as no update lowered the selection loss": _kept_start,
    "No update lowered the selection loss, of which the kept one is not shown to be above the"
    " start's": _never_lower,
    "Learnt next to nothing, unlike the method's other seeds, so that a lower learning rate may"
    " help": _learnt_nothing,
    "Collapsed on the way (answered all examples alike), as too high a learning rate does, and went"
    " on from the best weights at a third of it": _collapsed,
    "Lowest loss at the last evaluation, so that longer training may help": _ended_early,
    "The pilot's loss was still falling at its end, `train.max_updates`": _still_falling,
    "The pilot's arms learnt nothing that shows, and trainings are as long as it was": _not_learnt,
}
