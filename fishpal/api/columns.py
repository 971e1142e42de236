"""Lists, arrays, frames and datasets → columns of cells."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from fishpal.api.labels import is_list
from fishpal.common.checks import check
from fishpal.common.errors import DataError, brief, caution

READ = 1000  # rows of a dataset at once


def texts_of(text: Any) -> tuple[str, ...]:
    """The names of the columns that `text` is or lists."""
    names = (text,) if isinstance(text, str | int) or not is_list(text) else tuple(text)
    for name in names:
        check(isinstance(name, str | int), "text", repr(name), "a column's name, or two")
    return tuple(map(str, names))


def cells_of(dataset: Any, columns: Sequence[str]) -> dict[str, pd.Series]:
    """Columns of a split of `datasets`, as Python's values in whatever format it gives them.

    In one pass: what shuffles, draws or transforms as it goes gives other rows in another.
    """
    form = getattr(dataset, "format", None) or {}  # none of one that is read as a stream
    if form.get("type") != "custom":  # a transform makes the rows what they are
        dataset = dataset.with_format(None)
    cells: dict[str, list[Any]] = {column: [] for column in columns}
    for rows in dataset.iter(READ):
        for column, found in cells.items():
            found += list(rows[column])
    return {column: pd.Series(found) for column, found in cells.items()}


def as_columns(texts: Any) -> list[list[Any]]:
    """Texts as one column, pairs of texts as two; `DataError` for what is neither."""
    texts = [texts] if isinstance(texts, str) else texts
    if isinstance(texts, pd.DataFrame) and texts.shape[1] == 2:
        for name in texts.columns[texts.dtypes.map(pd.api.types.is_numeric_dtype)]:
            caution(f"texts: column '{name}' holds numbers: taken as the texts of pairs")
    if not is_list(texts):
        what = f"texts is {brief(repr(texts))}"
        raise DataError(f"{what}; allowed: a text, a list of texts or of pairs, or a frame of them")
    rows = texts.itertuples(index=False, name=None) if hasattr(texts, "itertuples") else texts
    found = [each[0] if _is_row(each) and len(each) == 1 else each for each in rows]
    pairs = [_is_row(each) for each in found]
    if not any(pairs):
        return [found]
    if not all(pairs) or any(len(each) != 2 for each in found):
        row = next(i for i, each in enumerate(found) if not _is_row(each) or len(each) != 2)
        what = f"texts: row {row + 1} is {brief(repr(found[row]))}"
        raise DataError(f"{what}; allowed: all texts, or all pairs of texts")
    return [[each[side] for each in found] for side in (0, 1)]


def as_list(values: Any, count: int, name: str, what: str) -> list[Any]:
    """As many values as there are texts (`count`); `DataError` names the task, and `what`."""
    if not is_list(values):
        found = f"{what} is {brief(repr(values))}"
        raise DataError(f"{name}: {found}; allowed: a list, with one for each text")
    if len(listed := list(values)) != count:
        raise DataError(f"{name}: {count} texts and {len(listed)} {what}; allowed: as many")
    return listed


def _is_row(value: Any) -> bool:
    return isinstance(value, tuple | list) or (isinstance(value, np.ndarray) and value.ndim > 0)
