"""What a reader of the report should know before believing it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from fishpal.metrics import accuracy
from fishpal.reporting.grid import MethodResults, TaskResults
from fishpal.reporting.markdown import code, count, escape

FEWEST_EXAMPLES = 10  # of a class in a split, below which its score is noise
FEWEST_SEEDS = 3
TRUNCATED_SHARE = 0.01


def cautions(tasks: Sequence[TaskResults]) -> list[str]:
    """The warnings of a run, each one line of Markdown; empty where there is nothing to say."""
    found = list(_few_seeds(tasks))
    for results in tasks:
        lines = [
            *_overlaps(results),
            *_conflicts(results),
            *_rare_classes(results),
            *_truncated(results),
            *_not_above_majority(results),
            *_ended_early(results),
        ]
        found += [f"{code(results.name)}: {line}" for line in lines]
    return found


def _few_seeds(tasks: Sequence[TaskResults]) -> Iterator[str]:
    seeds = len(tasks[0].methods[0].cells)
    if seeds < FEWEST_SEEDS:
        yield (
            f"{count(seeds, 'seed')}, fewer than {FEWEST_SEEDS}: the intervals hold little of the"
            " variance between seeds and are too narrow."
        )


def _overlaps(results: TaskResults) -> Iterator[str]:
    for pair, number in results.card.overlap.items():
        if number > 0:
            both = " and ".join(escape(split) for split in pair.split("/"))
            verb = "is" if number == 1 else "are"
            yield f"{count(number, 'example')} {verb} in both {both}."


def _conflicts(results: TaskResults) -> Iterator[str]:
    number = results.card.conflicts
    if number > 0:
        verb = "occurs" if number == 1 else "occur"
        yield f"{count(number, 'text')} of the raw table {verb} with two labels or more."


def _rare_classes(results: TaskResults) -> Iterator[str]:
    for split, card in results.card.splits.items():
        for label in results.card.labels or ():
            number = (card.labels or {}).get(str(label), 0)
            if number < FEWEST_EXAMPLES:
                yield (
                    f"class {escape(label)} has {count(number, 'example')} in {escape(split)},"
                    f" fewer than {FEWEST_EXAMPLES}."
                )


def _truncated(results: TaskResults) -> Iterator[str]:
    for split, counts in results.counts.splits.items():
        if counts.truncated > TRUNCATED_SHARE * counts.rows:
            share = 100 * counts.truncated / counts.rows
            yield f"{share:.1f} % of the texts in {escape(split)} are cut at `max_length`."


def _not_above_majority(results: TaskResults) -> Iterator[str]:
    """Against the most frequent class of the split itself, which no constant answer beats."""
    if results.task.labels is None:
        return
    for split in results.headline:
        labels = results.labels[split]
        majority = np.bincount(labels).max() / len(labels)
        for method in results.methods:
            predictions = method.predictions(split)
            mean = np.mean([accuracy(labels, row, results.classes) for row in predictions])
            if mean <= majority + 1e-12:  # equal shares may differ in the last bit
                yield (
                    f"{code(method.name)} is not above the majority class on {escape(split)}:"
                    f" accuracy {mean:.4f} against {majority:.4f}."
                )


def _ended_early(results: TaskResults) -> Iterator[str]:
    falling = {method.name: sum(_best_at_end(method)) for method in results.methods}
    seeds = len(results.methods[0].cells)
    found = [f"{code(name)} ({n} of {count(seeds, 'seed')})" for name, n in falling.items() if n]
    if found:
        yield (
            f"the loss was lowest at the last evaluation for {', '.join(found)}; longer training"
            " may help."
        )


def _best_at_end(method: MethodResults) -> Iterator[bool]:
    for cell in method.cells:
        losses = cell.curve.losses
        yield len(losses) > 1 and losses[-1] < min(losses[:-1])
