"""What a task's rows leave open, told from its labels: classes or numbers, and which."""

from collections.abc import Sequence
from typing import Any, TypedDict, cast

import numpy as np
import pandas as pd

from fishpal.common.errors import DataError
from fishpal.common.kinds import MetricName
from fishpal.params import catalog

Label = str | int


class TaskOptions(TypedDict, total=False):
    """What may be said of a task, whatever its rows come from.

    Attributes:
        classes: the labels in their order; else those that occur, sorted.
        regression: whether labels are numbers; else, whether a label is no whole number.
        metrics: the first is the main one; else accuracy and (macro) F1, or both correlations.
        name: for messages and records.
        max_length: tokens that a text is cut to (128).
        selection: rows, or the share of rows (0.1), that checkpoints are picked on.
        fit: rows that are measured and trained on; else all others.
        seed: of the cut into these two (0).
    """

    classes: Sequence[Any]
    regression: bool
    metrics: Sequence[MetricName]
    name: str
    max_length: int
    selection: int | float
    fit: int | None
    seed: int


def spec_of(columns: catalog.Columns, values: pd.Series, options: TaskOptions) -> catalog.Task:
    """The catalog's entry, with classes and metrics that options leave open."""
    labels = options.get("classes")
    regression = options.get("regression", labels is None and _fractions(values))
    if regression and labels is not None:
        raise DataError("classes are given with regression=True; allowed: one of both")
    classes = None if regression else tuple(map(_plain, labels or _classes(values)))
    metrics = [MetricName.PEARSON, MetricName.SPEARMAN]
    if classes is not None:
        f1 = MetricName.F1 if len(classes) == 2 else MetricName.MACRO_F1
        metrics = [MetricName.ACCURACY, f1]
    sizes = catalog.Sizes(options.get("fit"), options.get("selection", 0.1))
    source = cast(catalog.FilesTask, catalog.TaskSource())  # rows that are here need no reading
    chosen = tuple(options.get("metrics", metrics))
    return catalog.Task(source, columns, classes, sizes, chosen)


def _fractions(values: pd.Series) -> bool:
    """Whether all labels are numbers, and one of them no whole one."""
    present = values.dropna()
    return pd.api.types.is_float_dtype(present) and bool((present % 1 != 0).any())


def all_numbers(cells: pd.Series) -> bool:
    """Whether cells that a file holds as text are all numbers."""
    return not pd.to_numeric(cells, errors="coerce").isna().any()


def _classes(values: pd.Series) -> list[Label]:
    """The labels that occur: of a categorical in its order, else sorted, numbers by size."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return list(values.cat.categories)
    whole = pd.api.types.is_float_dtype(values)  # one missing cell makes pandas write 1.0 for 1
    found = {_plain(int(each) if whole else each) for each in values.dropna().unique()}
    numbers = all(isinstance(each, int) for each in found)
    return sorted(found) if numbers else sorted(found, key=str)


def _plain(label: Any) -> Label:
    """A label of NumPy's as Python's; truth values by their names."""
    label = label.item() if isinstance(label, np.generic) else label
    return label if isinstance(label, int) and not isinstance(label, bool) else str(label)
