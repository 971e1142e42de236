"""What `download` and `tokenize` found in a task's rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fishpal.common.decode import decode
from fishpal.common.errors import PlanError
from fishpal.common.files import read_json


@dataclass(frozen=True)
class SplitCard:
    """Rows of a published split, and how many have each label (none for a regression)."""

    rows: int
    labels: dict[str, int] | None = None


@dataclass(frozen=True)
class Card:
    """`artifacts/raw/<task>/card.json`: what was read and what was wrong with it.

    Attributes:
        overlap: distinct texts that stand in two splits, by "first/second".
        conflicts: texts of the raw table of train that occur with two labels or more.
    """

    task: str
    source: dict[str, Any]
    columns: dict[str, Any]
    labels: tuple[str, ...] | None
    splits: dict[str, SplitCard]
    dropped: dict[str, int]
    overlap: dict[str, int]
    conflicts: int


@dataclass(frozen=True)
class SplitCounts:
    """Rows of a tokenised split, how many were cut at max_length, and the longest in tokens."""

    rows: int
    truncated: int
    max_tokens: int


def read_card(path: Path) -> Card:
    """What `download` found in a task's rows."""
    card: Card = decode(Card, read_json(path), str(path))
    return card


def read_counts(path: Path) -> tuple[dict[str, SplitCounts], int]:
    """Counts of the tokenised splits, and the rows kept out of fit as duplicates of selection."""
    data = read_json(path)
    if not isinstance(data, dict):
        raise PlanError(f"{path} is {type(data).__name__}; allowed: a mapping")
    where = f"{path}: removed_duplicates"
    removed: int = decode(int, data.pop("removed_duplicates", 0), where)
    counts: dict[str, SplitCounts] = decode(dict[str, SplitCounts], data, str(path))
    return counts, removed
