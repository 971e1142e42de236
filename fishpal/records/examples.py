"""Examples in memory: what a model reads, and whether it can."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fishpal.common.errors import DataError, brief
from fishpal.records.facts import Limits, TaskFacts


@dataclass(frozen=True)
class Example:
    """One tokenised text or pair; `label` is a class index, or the target of a regression.

    `second` is the position at which a pair's second text starts.
    """

    input_ids: list[int]
    label: int | float
    token_type_ids: list[int] | None = None
    second: int | None = None


class Stored(Sequence[Example], ABC):
    """Examples in a file, which knows of all rows without reading each."""

    @abstractmethod
    def check(self, facts: TaskFacts, limits: Limits) -> Self:
        """Itself; `DataError` where a row is not the task's or beyond the encoder's limits."""

    @abstractmethod
    def lengths(self) -> list[int]:
        """Tokens of every row."""

    @abstractmethod
    def labels(self) -> list[int] | list[float]:
        """Of every row, as its example has it."""


def check_examples(
    examples: Sequence[Example], facts: TaskFacts, limits: Limits, part: str
) -> None:
    """Raise `DataError` naming part and row of an example that task or encoder cannot take."""
    if isinstance(examples, Stored):
        examples.check(facts, limits)
        return
    for row, example in enumerate(examples):
        problem = _problem(example, facts, limits)
        if problem:
            raise DataError(f"task {facts.name}: {part}: row {row}: {problem}")


def _problem(example: Example, facts: TaskFacts, limits: Limits) -> str:
    tokens, types, label = len(example.input_ids), example.token_type_ids, example.label
    if not 1 <= tokens <= (limits.tokens or math.inf):
        return f"{tokens} tokens; allowed: 1 to {limits.tokens or 'any number'}"
    least, most = min(example.input_ids), max(example.input_ids)
    if least < 0 or most >= limits.ids:
        return f"token ids go from {least} to {most}; allowed: 0 to {limits.ids - 1}"
    known = types is None or (len(types) == tokens and 0 <= min(types) <= max(types) < limits.types)
    if not known:
        return f"token_type_ids are {brief(types)}; allowed: one a token, below {limits.types}"
    if facts.pair and (example.second is None or not 0 <= example.second <= tokens):
        return f"second is {example.second}; allowed for a pair: 0 to {tokens}"
    if facts.labels is None:
        ok = isinstance(label, float) and math.isfinite(label)
        return "" if ok else f"label is {brief(repr(label))}; allowed: a finite float"
    ok = isinstance(label, int) and not isinstance(label, bool) and 0 <= label < facts.outputs
    return "" if ok else f"label is {brief(repr(label))}; allowed: 0 to {facts.outputs - 1}"


def lengths(examples: Sequence[Example]) -> list[int]:
    """Tokens of every example."""
    if isinstance(examples, Stored):
        return examples.lengths()
    return [len(example.input_ids) for example in examples]


def labels(examples: Sequence[Example]) -> NDArray[Any]:
    """Of every example, (n): class indices, or numbers."""
    found = examples.labels() if isinstance(examples, Stored) else [e.label for e in examples]
    return np.array(found)
