"""Raw tables → clean splits: texts that are texts, labels as class indices, a card of counts."""

import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import pandas as pd

from fishpal.common.errors import DataError, brief
from fishpal.common.files import replacing
from fishpal.common.texts import TEXTS
from fishpal.params.catalog import Split, Task, group_column, needed_columns, selection_group
from fishpal.records.card import Card, SplitCard
from fishpal.records.record import without_default
from fishpal.tasks.frames import check_columns
from fishpal.tasks.repeats import conflicts, text_keys, without_repeats

NO_TEXT = re.compile("[\0\ud800-\udfff]")  # what no file can hold, or no C library
Frames = dict[str, pd.DataFrame]  # by split
ROWS_PER_GROUP = 65_536  # of a Parquet file: small enough to stream, large enough to compress


@dataclass(frozen=True)
class CleanTask:
    """A task's splits, and what was read, dropped and found.

    Each split has columns `text`, for pairs `text_pair`, and `label`: int64 class index in the
    order of the task's labels, or float64 target of a regression. Train has `group`, too, where
    rows stay together.
    """

    splits: Frames
    card: Card


def build_splits(task: Task, frames: Frames, name: str) -> CleanTask:
    """Drop, check, cut and count a task's rows; `DataError` names task (`name`), split and row.

    `frames` are raw tables by split, `train` among them, as `fishpal.tasks.frames.read_frame`
    gives them; rows are numbered by their index, from 0.
    """
    dropped = {"labels": 0, "duplicates": 0}
    clean, contrary = {}, 0
    for split, frame in frames.items():
        table = clean_frame(task, frame, f"{name}/{split}", split)
        dropped["labels"] += len(frame) - len(table)
        if split == "train":
            contrary = conflicts(table)
        if task.source.drop_duplicates:
            unique = without_repeats(table)
            dropped["duplicates"] += len(table) - len(unique)
            table = unique
        clean[split] = table
    if task.source.split is not None:
        clean = _cut(clean["train"], task.source.split, name)
    wanted = [column for column in (*TEXTS, "label") if column in clean["train"]]
    splits = {split: table[wanted].reset_index(drop=True) for split, table in clean.items()}
    if selection_group(task):
        splits["train"]["group"] = clean["train"]["group"].to_numpy()
    _check_splits(task, splits, name)
    return CleanTask(splits, _card(task, name, splits, dropped, contrary))


def write_task(task: CleanTask, folder: Path) -> None:
    """Write `<split>.parquet` and `card.json` to a folder that takes its place as a whole."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with replacing(folder) as draft:
        draft.mkdir()
        for split, frame in task.splits.items():
            rows = pa.table({name: pa.array(frame[name].tolist()) for name in frame.columns})
            pq.write_table(rows, draft / f"{split}.parquet", row_group_size=ROWS_PER_GROUP)
        task.card.save(draft / "card.json")


def clean_frame(task: Task, frame: pd.DataFrame, where: str, name: str = "train") -> pd.DataFrame:
    """Columns `text`, `text_pair`, `label` and, for a cut by group of train, `group`; checks every
    cell of the table of that `name`."""
    columns, cut = task.columns, task.source.split
    by = group_column(columns, cut) if name == "train" else None
    frame = frame.rename(columns=str)
    check_columns(where, needed_columns(columns, cut, name), list(frame.columns))
    labels = {str(label): number for number, label in enumerate(task.labels or ())}
    whole = all(re.fullmatch("-?[0-9]+", label) for label in labels)  # or a regression's numbers
    if task.source.drop_labels:
        # Before the checks: rows that nobody uses may well have no text.
        unwanted = {_label(label, whole) for label in task.source.drop_labels}
        frame = frame[[_label(value, whole) not in unwanted for value in frame[columns.label]]]
    clean = pd.DataFrame(index=frame.index)
    for target, column in zip(TEXTS, columns.text, strict=False):
        clean[target] = _converted(frame[column], _text, object, where)
    if task.labels is None:
        clean["label"] = _converted(frame[columns.label], _target, float, where)
    else:
        alike = {label_key(label): label for label in labels}
        convert = partial(_class, labels=labels, alike=alike, whole=whole)
        clean["label"] = _converted(frame[columns.label], convert, "int64", where)
    if by:
        clean["group"] = _converted(frame[by], _group, object, where)
    return clean


def _converted(cells: pd.Series, convert: Callable[[Any], Any], dtype: Any, where: str) -> Any:
    """Every cell through `convert`, which raises `DataError` with its words on a bad one."""
    found, bad = [], []
    for row, cell in cells.items():
        try:
            found.append(convert(cell))
        except DataError as error:
            bad.append((row + 1, str(error)))  # not the error, which holds on to its frames
    if bad:
        more = f" and {len(bad) - 1} more rows" if len(bad) > 1 else ""
        raise DataError(f"{where}: column '{cells.name}' row {bad[0][0]}{more} is {bad[0][1]}")
    return pd.Series(found, cells.index, dtype=dtype)


def _text(value: Any) -> str:
    """A cell as text; whole numbers count as texts, since JSON writes `7` for the text 7."""
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return str(value)
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        problem = "no text (null)"
    elif not isinstance(value, str):
        problem = f"{type(value).__name__} {brief(value)}"
    elif not value.strip():
        problem = "empty text"
    elif bad := NO_TEXT.search(value):
        problem = f"text with {ascii(bad[0])} (NUL or a lone surrogate)"
    else:
        return value
    raise DataError(f"{problem}; allowed: text or a whole number")


def _group(value: Any) -> str:
    """As a text; 1.0 is 1, since one missing cell makes pandas write it so."""
    whole = isinstance(value, float | np.floating) and float(value).is_integer()
    return _text(int(value) if whole else value)


def _label(value: Any, whole: bool) -> str | None:
    """A raw label's text, None where it is missing; where `whole`, 1.0 is 1, since one missing
    cell makes pandas write it so."""
    single = not isinstance(value, list | tuple | dict | np.ndarray)
    if single and pd.isna(value):
        return None
    if whole and isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))  # not 1e+16
    text = str(value)
    return text.split(".")[0] if whole and re.fullmatch(r"-?[0-9]+\.0+", text) else text


def _class(value: Any, labels: dict[str, int], alike: dict[str, str], whole: bool) -> int:
    """The class index of a raw label; `alike`: each label by its `label_key`, for messages."""
    text, hint = _label(value, whole), ""
    if text is None:
        raise DataError(f"no label (null); allowed: {', '.join(labels)} (labels, drop_labels)")
    if text in labels and not isinstance(value, list | tuple | dict | np.ndarray):
        return labels[text]
    if near := alike.get(label_key(text)):
        same = normalize("NFC", text) == normalize("NFC", near)
        what = "Unicode form (NFC, NFD)" if same else "case, spaces or width"
        hint = f" ({ascii(brief(text))}, which differs from {ascii(near)} in {what} alone)"
    allowed = f"{', '.join(labels)} (labels, drop_labels)"
    raise DataError(f"'{brief(value)}'{hint}; allowed: {allowed}")


def label_key(text: str) -> str:
    """What a label has in common with those that differ in spaces around, case or width alone."""
    return normalize("NFKC", text).strip().casefold()


def _target(value: Any) -> float:
    none = isinstance(value, bool | np.bool_) or "_" in str(value)  # 1_000, as in Python's code
    try:
        number = math.nan if none else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"'{brief(value)}'; allowed: finite numbers, since labels is null")
    return number


def _cut(table: pd.DataFrame, split: Split, name: str) -> Frames:
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
    return {key: table[owner[members] == number] for number, key in enumerate(split.shares)}


def _check_splits(task: Task, splits: Frames, name: str) -> None:
    for split, frame in splits.items():
        if frame.empty:
            what = "holds no rows once labels and duplicates are dropped and the table is cut"
            raise DataError(f"{name}/{split}: {what}; allowed: one or more")
        if frame["label"].nunique() < 2:
            value = frame["label"].iloc[0]
            value = value if task.labels is None else brief(task.labels[value])
            raise DataError(f"{name}/{split}: every label is {value}; allowed: two labels or more")


def _card(task: Task, name: str, splits: Frames, dropped: dict[str, int], contrary: int) -> Card:
    cleaning = ("drop_labels", "drop_duplicates", "split")
    usual = {"format": None, "header": True, "quoting": None}  # so are not worth a word
    source = {k: v for k, v in asdict(task.source).items() if usual.get(k, ...) != v}
    keys = {split: set(text_keys(frame)) for split, frame in splits.items()}
    labels = None if task.labels is None else tuple(map(str, task.labels))
    return Card(
        task=name,
        source={key: value for key, value in source.items() if key not in cleaning},
        columns=without_default(asdict(task.columns), "group", None),
        labels=labels,
        splits={split: _split_card(labels, frame) for split, frame in splits.items()},
        dropped=dropped,
        overlap={f"{a}/{b}": len(keys[a] & keys[b]) for a, b in combinations(splits, 2)},
        conflicts=contrary,
    )


def _split_card(labels: tuple[str, ...] | None, frame: pd.DataFrame) -> SplitCard:
    if labels is None:
        return SplitCard(len(frame))
    counts = np.bincount(frame["label"], minlength=len(labels)).tolist()
    return SplitCard(len(frame), dict(zip(labels, counts, strict=True)))
