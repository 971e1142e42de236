"""Raw tables → clean splits: texts that are texts, labels as class indices, a card of counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fishpal.common.errors import DataError, brief
from fishpal.common.files import replacing
from fishpal.params.catalog import Split, Task
from fishpal.records.card import Card, SplitCard
from fishpal.tasks.frames import check_columns

TEXTS = ("text", "text_pair")
ROWS_PER_GROUP = 65_536  # of a Parquet file: small enough to stream, large enough to compress


@dataclass(frozen=True)
class CleanTask:
    """A task's splits and card.

    Attributes:
        splits: one frame a split with columns `text`, for pairs `text_pair`, and `label`: int64
            class index in the order of the task's labels, or float64 target of a regression.
        card: what was read, dropped and found.
    """

    splits: dict[str, pd.DataFrame]
    card: Card


def build_splits(task: Task, frames: dict[str, pd.DataFrame], name: str) -> CleanTask:
    """Drop, check, cut and count a task's rows.

    Args:
        frames: raw tables by split, `train` among them, as `fishpal.tasks.frames.read_frame` gives
            them; rows are numbered by their index, from 0.
        name: the task's name, for messages.

    Raises:
        DataError: naming task, split, row, value and what is allowed.
    """
    dropped = {"labels": 0, "duplicates": 0}
    clean, conflicts = {}, 0
    for split, frame in frames.items():
        where = f"{name}/{split}"
        table = _clean_frame(task, frame, where)
        dropped["labels"] += len(frame) - len(table)
        if split == "train":
            conflicts = _conflicts(table)
        if task.source.drop_duplicates:
            unique = table.drop_duplicates(_texts(table), keep="first")
            dropped["duplicates"] += len(table) - len(unique)
            table = unique
        clean[split] = table
    if task.source.split is not None:
        clean = _cut(clean["train"], task.source.split, name)
    wanted = [column for column in (*TEXTS, "label") if column in clean["train"]]
    splits = {split: table[wanted].reset_index(drop=True) for split, table in clean.items()}
    _check_splits(splits, name)
    return CleanTask(splits, _card(task, name, splits, dropped, conflicts))


def write_task(task: CleanTask, folder: Path) -> None:
    """Write `<split>.parquet` and `card.json` to a folder that takes its place as a whole."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with replacing(folder) as draft:
        draft.mkdir()
        for split, frame in task.splits.items():
            columns = {name: pa.array(frame[name].tolist()) for name in frame.columns}
            path = draft / f"{split}.parquet"
            pq.write_table(pa.table(columns), path, row_group_size=ROWS_PER_GROUP)
        task.card.save(draft / "card.json")


def _clean_frame(task: Task, frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """Columns `text`, `text_pair`, `label` and, for a cut by group, `group`."""
    columns, by = task.columns, task.source.split.by if task.source.split else None
    needed = [*columns.text, columns.label, *([by] if by else [])]
    check_columns(where, needed, [str(column) for column in frame.columns])
    if task.source.drop_labels:
        # Before the checks: rows that nobody uses may well have no text.
        unwanted = {str(label) for label in task.source.drop_labels}
        frame = frame[[str(value) not in unwanted for value in frame[columns.label]]]
    clean = pd.DataFrame(index=frame.index)
    for target, column in zip(TEXTS, columns.text, strict=False):
        clean[target] = pd.Series(_texts_of(frame, column, where), frame.index, dtype=object)
    if task.labels is None:
        clean["label"] = pd.Series(_targets(frame, columns.label, where), frame.index, dtype=float)
    else:
        labels = [str(label) for label in task.labels]
        found = _classes(frame, columns.label, labels, where)
        clean["label"] = pd.Series(found, frame.index, dtype="int64")
    if by:
        clean["group"] = pd.Series(_texts_of(frame, by, where), frame.index, dtype=object)
    return clean


def _texts_of(frame: pd.DataFrame, column: str, where: str) -> list[str]:
    """A column as texts; whole numbers count as texts, since JSON writes `7` for the text 7."""
    found, bad = [], []
    for row, value in zip(frame.index, frame[column], strict=True):
        if isinstance(value, int | np.integer) and not isinstance(value, bool):
            value = str(value)
        problem = _text_problem(value)
        if problem:
            bad.append((row, problem))
        found.append(value)
    if bad:
        row, problem = bad[0]
        more = f" and {len(bad) - 1} more rows" if len(bad) > 1 else ""
        allowed = "text or a whole number"
        raise DataError(
            f"{where}: column '{column}' row {row + 1}{more} is {problem}; allowed: {allowed}"
        )
    return found


def _text_problem(value: Any) -> str:
    if not isinstance(value, str):
        missing = (
            value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))
        )
        return "no text (null)" if missing else f"{type(value).__name__} {brief(value)}"
    if not value.strip():
        return "empty text"
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return "no UTF-8 text (a lone surrogate)"
    return ""


def _classes(frame: pd.DataFrame, column: str, labels: Sequence[str], where: str) -> list[int]:
    index = {label: number for number, label in enumerate(labels)}
    found = []
    for row, value in zip(frame.index, frame[column], strict=True):
        if str(value) not in index:
            what = f"{where}: column '{column}' row {row + 1} is '{brief(value)}'"
            raise DataError(f"{what}; allowed: {', '.join(labels)} (labels, drop_labels)")
        found.append(index[str(value)])
    return found


def _targets(frame: pd.DataFrame, column: str, where: str) -> list[float]:
    found = []
    for row, value in zip(frame.index, frame[column], strict=True):
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            what = f"{where}: column '{column}' row {row + 1} is '{brief(value)}'"
            raise DataError(f"{what}; allowed: finite numbers, since labels is null")
        found.append(number)
    return found


def _cut(table: pd.DataFrame, split: Split, name: str) -> dict[str, pd.DataFrame]:
    """Deal shuffled groups (or rows) to the splits in order, until each has its share of rows."""
    groups = table["group"].to_numpy() if split.by else np.arange(len(table))
    names, members = np.unique(groups.astype(str) if split.by else groups, return_inverse=True)
    sizes = np.bincount(members, minlength=len(names))
    order = np.random.default_rng(split.seed).permutation(len(names))
    # Aims are cumulative, so that one split's overshoot does not add to the next one's.
    aims = np.cumsum(list(split.shares.values())) * len(table)
    owner = np.empty(len(names), dtype=np.int64)
    current, rows = 0, 0
    for group in order:
        while current < len(aims) - 1 and rows >= aims[current] - 1e-6:
            current += 1
        owner[group] = current
        rows += sizes[group]
    owners = owner[members]
    return {key: table[owners == number] for number, key in enumerate(split.shares)}


def _check_splits(splits: dict[str, pd.DataFrame], name: str) -> None:
    for split, frame in splits.items():
        if frame.empty:
            what = "holds no rows once labels and duplicates are dropped and the table is cut"
            raise DataError(f"{name}/{split}: {what}; allowed: one or more")
        if frame["label"].nunique() < 2:
            value = frame["label"].iloc[0]
            raise DataError(f"{name}/{split}: every label is {value}; allowed: two labels or more")


def _texts(frame: pd.DataFrame) -> list[str]:
    return [column for column in TEXTS if column in frame]


def _keys(frame: pd.DataFrame) -> set[tuple[str, ...]]:
    return set(zip(*(frame[column] for column in _texts(frame)), strict=True))


def _conflicts(frame: pd.DataFrame) -> int:
    """Texts (or pairs) that stand with two labels or more."""
    distinct = frame.drop_duplicates([*_texts(frame), "label"])
    repeated = distinct[distinct.duplicated(_texts(distinct), keep="first")]
    return len(_keys(repeated)) if len(repeated) else 0


def _card(
    task: Task,
    name: str,
    splits: dict[str, pd.DataFrame],
    dropped: dict[str, int],
    conflicts: int,
) -> Card:
    cleaning = ("drop_labels", "drop_duplicates", "split")
    keys = {split: _keys(frame) for split, frame in splits.items()}
    pairs = combinations(splits, 2)
    return Card(
        task=name,
        source={key: v for key, v in asdict(task.source).items() if key not in cleaning},
        columns=asdict(task.columns),
        labels=None if task.labels is None else tuple(map(str, task.labels)),
        splits={split: _split_card(task, frame) for split, frame in splits.items()},
        dropped=dropped,
        overlap={f"{a}/{b}": len(keys[a] & keys[b]) for a, b in pairs},
        conflicts=conflicts,
    )


def _split_card(task: Task, frame: pd.DataFrame) -> SplitCard:
    if task.labels is None:
        return SplitCard(len(frame))
    counts = np.bincount(frame["label"], minlength=len(task.labels)).tolist()
    return SplitCard(len(frame), dict(zip(map(str, task.labels), counts, strict=True)))
