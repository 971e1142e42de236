"""What a task's rows leave open, told from its labels: classes or numbers, and which."""

import math
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any, TypedDict, cast

import numpy as np
import pandas as pd

from fishpal.common.checks import check, check_choice
from fishpal.common.errors import DataError, brief, caution
from fishpal.common.fields import plain
from fishpal.common.kinds import MetricName
from fishpal.params import catalog
from fishpal.tasks.clean import NO_TEXT, label_key

Label = str | int


class TaskOptions(TypedDict, total=False):
    """What may be said of a task, whatever its rows come from; `ParamsError` for anything else.

    Attributes:
        classes: the labels in their order; else those that occur, sorted.
        regression: whether labels are numbers; else, whether a label is no whole number.
        metrics: the first is the main one; else accuracy and (macro) F1, or both correlations.
        name: for messages and records.
        max_length: tokens that a text is cut to (128).
        selection: rows, or the share of rows (0.1), that checkpoints are picked on.
        fit: rows that are measured and trained on; else all others.
        seed: of the cut into these two (0).
        group: a column whose values fit and selection do not share: authors, documents, patients.
    """

    classes: Sequence[Any]
    regression: bool
    metrics: Sequence[MetricName]
    name: str
    max_length: int
    selection: int | float
    fit: int | None
    seed: int
    group: str


# Option → its types, and what is allowed of it.
TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "name": ((str,), "a text of letters a-z, digits and _"),
    "regression": ((bool,), "True, False or None"),
    "group": ((str, int), "the name of a column"),
    "max_length": ((int,), "an integer from 4"),
    "selection": ((int, float), "an integer from 2, or a share of train between 0 and 1"),
    "fit": ((int,), "an integer from 2, or None"),
    "seed": ((int,), "an integer from 0"),
}
UNSET = ("classes", "regression", "metrics", "fit", "group")  # None is as if left out
NO_LABEL = (list, tuple, dict, set, frozenset, np.ndarray)
MANY = 20  # classes that whole numbers rarely are the names of
# A whole number's own text, and any spelling of a number. Eighteen digits are within int64.
WHOLE = re.compile("0|-?[1-9][0-9]{0,17}")
SPELLING = re.compile(
    r"[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|inf(inity)?)|nan", re.IGNORECASE
)


def checked(options: Mapping[str, Any]) -> TaskOptions:
    """The options that are set, NumPy's numbers as Python's; their ranges are checked later.

    Raises:
        ParamsError: an option that there is not, or one of the wrong type.
    """
    for key in options:
        check_choice("option", key, TaskOptions.__annotations__)
    given = {key: plain(value) for key, value in options.items()}
    found = {k: v for k, v in given.items() if v is not None or k not in UNSET}
    for key in found.keys() & TYPES.keys():
        types, allowed = TYPES[key]
        truth = isinstance(found[key], bool) and bool not in types  # which is an int, too
        check(isinstance(found[key], types) and not truth, key, repr(found[key]), allowed)
    if isinstance(found.get("metrics"), str):
        found["metrics"] = (found["metrics"],)
    for key in found.keys() & {"classes", "metrics"}:
        check(is_list(found[key]), key, repr(found[key]), "a list of names, in their order")
        found[key] = list(found[key])
    return cast(TaskOptions, found)


def is_list(values: Any) -> bool:
    """Whether these are values in an order, also from a generator; no text, and no mapping."""
    unordered = isinstance(values, str | bytes | Mapping | set | frozenset)
    scalar = isinstance(values, np.ndarray) and values.ndim == 0
    return isinstance(values, Iterable) and not (unordered or scalar)


def single(value: Any) -> Any:
    """What a tensor or an array without dimensions holds; anything else, NumPy's too, as it is."""
    return value if isinstance(value, np.generic) else plain(value)


def spec_of(columns: catalog.Columns, values: pd.Series, options: TaskOptions) -> catalog.Task:
    """The catalog's entry, with classes and metrics that options leave open.

    Raises:
        DataError: naming the row of what can be no label, where the classes are those that occur.
    """
    labels = options.get("classes")
    regression = options.get("regression", labels is None and _fractions(values))
    if regression and labels is not None:
        raise DataError("classes are given with regression=True; allowed: one of both")
    if labels is None and not regression:
        labels = _classes(values, name := options.get("name", "task"))
        if len(labels) == 1:
            what = f"{name}: all labels are {brief(repr(labels[0]))}"
            raise DataError(f"{what}; allowed: two classes or more, or regression=True")
        if "regression" not in options:
            _warn_of_odd(labels, values, name)
    classes = None if labels is None else tuple(map(_plain, labels))
    metrics = [MetricName.PEARSON, MetricName.SPEARMAN]
    if classes is not None:
        f1 = MetricName.F1 if len(classes) == 2 else MetricName.MACRO_F1
        metrics = [MetricName.ACCURACY, f1]
    sizes = catalog.Sizes(options.get("fit"), options.get("selection", 0.1))
    source = cast(catalog.FilesTask, catalog.TaskSource())  # rows that are here need no reading
    chosen = tuple(options.get("metrics", metrics))
    return catalog.Task(source, columns, classes, sizes, chosen)


def _warn_of_odd(labels: list[Label], values: pd.Series, name: str) -> None:
    """Classes that may be amounts, or spellings of one."""
    if len(labels) > MANY and all(map(is_number, values)):
        what = f"labels are whole numbers, taken as {len(labels)} classes"
        caution(f"{name}: {what}; regression=True takes them as amounts")
    elif len(labels) > 2 and all(map(_is_float, values)):
        what = f"labels are whole, but of type float, taken as {len(labels)} classes"
        caution(f"{name}: {what}; regression=True takes them as amounts")
    elif len(labels) > max(MANY, len(values) / 2):
        what = f"labels are texts, taken as {len(labels)} classes of {len(values)} rows"
        caution(f"{name}: {what}; amounts have to be numbers")
    _warn_of_numbers(labels, values, name)
    alike: dict[str, list[Label]] = {}
    for label in labels:
        alike.setdefault(label_key(str(label)), []).append(label)
    if same := [each for each in alike.values() if len(each) > 1]:
        what = ", ".join(brief(ascii(label)) for label in same[0])
        caution(f"{name}: classes {what} differ in spaces, case or Unicode form alone")
    if padded := [label for label in labels if str(label) != str(label).strip()]:
        what = f"class {brief(repr(padded[0]))} has spaces around it, which are part of its name"
        caution(f"{name}: {what}, and sort before others")


def _warn_of_numbers(labels: list[Label], values: pd.Series, name: str) -> None:
    """Classes most of which are numbers, with a few labels that are none."""
    found = [(row, label, _number(label)) for row, label in values.dropna().items()]
    others = [(row, label) for row, label, number in found if number is None]
    if others and len(others) < len(found) / 2:
        (row, label), most = others[0], f"{len(found) - len(others)} of {len(found)}"
        what = f"{most} labels are numbers, {brief(repr(label))} of row {row + 1} is none"
        caution(f"{name}: {what}: all are taken as {len(labels)} classes")


def _fractions(values: pd.Series) -> bool:
    """Whether all labels are numbers, of whatever dtype, and one of them no whole one."""
    if isinstance(values.dtype, pd.CategoricalDtype) or pd.api.types.is_integer_dtype(values):
        return False
    present = values.dropna()
    return all(map(is_number, present)) and not all(map(is_whole, present))


def is_number(value: Any) -> bool:
    return isinstance(value, Real | Decimal) and not isinstance(value, bool | np.bool_)


def _is_float(value: Any) -> bool:
    return isinstance(value, float | np.floating)


def is_finite(number: Any) -> bool:
    return isinstance(number, int) or math.isfinite(number)  # which overflows on huge integers


def is_whole(number: Any) -> bool:
    """Whether a number is an integer, of whatever type; infinities are none."""
    return is_finite(number) and number % 1 == 0


def numbers_of(cells: pd.Series, fractions: bool = True) -> pd.Series:
    """A file's labels as numbers where they are numbers, which only the file's spelling tells.

    Empty cells are missing ones. With a fraction among the others, they are a regression's, in any
    spelling (3.10, 1e-05). Else a text is a number only as the number's own text: 01 and 1 stay
    two labels. Where `fractions` is false, those stay texts.
    """
    filled = [None if isinstance(cell, str) and not cell.strip() else cell for cell in cells]
    cells = pd.Series(filled, cells.index, dtype=object, name=cells.name)
    present = [cell for cell in filled if cell is not None]
    found = [_number(cell) for cell in present]
    if any(number is None for number in found):
        return cells
    whole = all(map(is_whole, found))
    if whole and _own_texts([cell for cell in present if isinstance(cell, str)]):
        found = [int(Decimal(cell)) for cell in present]  # exact, where a float is not
    elif not fractions or all(is_whole(number) or not is_finite(number) for number in found):
        return cells
    rest = iter(found)
    numbers = [None if cell is None else next(rest) for cell in filled]
    return pd.Series(numbers, cells.index, dtype=object)


def _number(cell: Any) -> Any:
    """What a cell of a file says; None: no number."""
    if isinstance(cell, str):
        return float(cell) if SPELLING.fullmatch(cell.strip()) else None
    return cell if is_number(cell) else None


def _own_texts(texts: list[str]) -> bool:
    """Whether whole numbers are spelt as Python writes them: all as 1, or all as 1.0."""
    if all(map(WHOLE.fullmatch, texts)):
        return True
    return all(is_whole(float(text)) and text == str(float(text)) for text in texts)


def _classes(values: pd.Series, name: str) -> list[Label]:
    """The labels that occur: of a categorical in its order, else sorted, numbers by size."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return list(values.cat.categories)
    present = values.dropna()
    for row, value in present.items():
        hashable = isinstance(value, Hashable) and not isinstance(value, NO_LABEL)
        finite = is_finite(value) if is_number(value) else True
        if not hashable or not finite or NO_TEXT.search(str(value)):
            what = f"{name}: column '{values.name}' row {row + 1} is {brief(repr(value))}"
            raise DataError(f"{what}; allowed: one label a row, a text or a finite number")
    found = set(present)
    if not all(map(is_number, found)):
        return sorted(map(_plain, found), key=str)
    # One missing cell makes pandas write 1.0 for 1.
    whole = all(map(is_whole, found))
    return [int(each) if whole else str(each) for each in sorted(found)]


def _plain(label: Any) -> Label:
    """A label of NumPy's as Python's; truth values by their names."""
    label = label.item() if isinstance(label, np.generic) else label
    return label if isinstance(label, int) and not isinstance(label, bool) else str(label)
