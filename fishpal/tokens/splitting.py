"""Cuts train into its fit and selection parts, and evaluation splits to size."""

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fishpal.common.errors import DataError, caution
from fishpal.params.catalog import Sizes

Rows = NDArray[np.int64]
Labels = NDArray[np.int64] | NDArray[np.float64]
FEW = 20  # rows of selection, below which a single one is more than 5 % of it
BEYOND = 0.1  # share of selection that a group may bring of a label beyond what is lacking of it


@dataclass(frozen=True)
class Parts:
    """Row numbers of train.

    Attributes:
        fit: (n_fit,) what training and Fisher see. Under one seed a smaller part is the start of
            a larger one; of a classification every start is stratified.
        selection: (n_selection,) what checkpoints are picked on; does not depend on `sizes.fit`.
        duplicates: rows kept out of fit since their text or group stands in selection.
    """

    fit: Rows
    selection: Rows
    duplicates: int


def split_train(
    labels: Labels,
    texts: Sequence[Hashable],
    sizes: Sizes,
    seed: int,
    name: str,
    groups: Sequence[str] | None = None,
) -> Parts:
    """Split train by a seed.

    Args:
        labels: (n,) class indices, or float targets of a regression.
        texts: (n,) the text, or tuple of texts, of every row.
        groups: (n,) of rows that are alike: none stands in both parts, as where the evaluation
            splits are of other groups. Else what was learnt of a group would count as skill.

    Raises:
        DataError: train is too small for `sizes`, or the fit part has one class alone.
    """
    order = stratified_order(labels, seed)
    selected = _selection_size(sizes, len(labels), name)
    if selected < FEW:
        what = "length, kind and checkpoint are picked by them, and confidence set"
        caution(f"{name}: selection has {selected} rows: {what}; 100 or more tell something apart")
    dealt = order
    if groups is None:
        dealt = _few_texts_first(order, labels, texts, selected)
        selection = _with_two_labels(dealt, labels, selected)
        rest = order[~np.isin(order, selection)]
    else:
        inside = _rows_of_groups(groups, labels, selected, seed)[order]
        if inside.all():
            what = f"{name}: sizes.selection is {selected} rows, which takes every group"
            raise DataError(f"{what}; allowed: fewer, as groups stand in one part alone")
        selection, rest = _with_two_labels(order[inside], labels, selected), order[~inside]
    seen = {texts[row] for row in selection.tolist()}
    fit = np.array([row for row in rest.tolist() if texts[row] not in seen], dtype=np.int64)
    if dealt is not order:
        fit = fit[stratified_order(labels[fit], seed)]
    duplicates = len(labels) - selected - len(fit)
    left = f"train's {len(labels)} rows without {selected} for selection"
    left += f" and {duplicates} of the same text or group"
    return Parts(_start_of(fit, labels, sizes.fit, name, left), selection, duplicates)


def _start_of(fit: Rows, labels: Labels, size: int | None, name: str, left: str) -> Rows:
    """The first `size` rows, or all; `DataError` where there are not as many, of two labels."""
    wanted = len(fit) if size is None else size
    if not 2 <= wanted <= len(fit):
        raise DataError(f"{name}: sizes.fit is {wanted}; allowed: 2 to {len(fit)} ({left})")
    if len(np.unique(labels[fit[:wanted]])) < 2:
        what = f"sizes.fit is {wanted}, all with one label"
        raise DataError(f"{name}: {what}; allowed: two labels ({left})")
    return fit[:wanted]


def _few_texts_first(order: Rows, labels: Labels, texts: Sequence[Hashable], size: int) -> Rows:
    """The order, but where its first `size` rows have most of a class's different texts.

    Fit has no text of selection. A class whose few texts stand in train many times over, as after
    oversampling, would have none left: of it selection takes no more than its share of the texts,
    and never all of them.
    """
    numbers = labels.dtype.kind == "f"
    classes: list[int] = [0] * len(labels) if numbers else labels.astype(int).tolist()

    def different(among: Sequence[int]) -> defaultdict[int, set[Hashable]]:
        found: defaultdict[int, set[Hashable]] = defaultdict(set)
        for row in among:
            found[classes[row]].add(texts[row])
        return found

    ordered = order.tolist()
    there, taken = different(ordered), different(ordered[:size])
    rows, wanted = Counter(classes), Counter(classes[row] for row in ordered[:size])
    most = {
        k: min(math.ceil(wanted[k] * len(own) / rows[k]), len(own) - 1)
        for k, own in there.items()
        if len(own) < rows[k] and 2 * len(taken[k]) > len(own)
    }
    if not most:
        return order
    chosen = different(())
    first, later = [], []
    for row in ordered:
        k, text = classes[row], texts[row]
        if wanted[k] and (text in chosen[k] or len(chosen[k]) < most.get(k, rows[k])):
            chosen[k].add(text)
            wanted[k] -= 1
            first.append(row)
        else:
            later.append(row)
    later.sort(key=lambda row: classes[row] in most)
    return np.array(first + later, dtype=np.int64)


def _with_two_labels(rows: Rows, labels: Labels, size: int) -> Rows:
    """The first of them; where these have one label alone, the last is the first of another."""
    first = rows[:size]
    others = rows[labels[rows] != labels[first[0]]]
    if len(np.unique(labels[first])) > 1 or not len(others):
        return first
    return np.append(first[:-1], others[0])


def stratified_order(labels: Labels, seed: int) -> Rows:
    """All row numbers (n,) shuffled so that every prefix has the classes' shares.

    The j-th of a class's m shuffled rows gets the place (j + ½) / m; sorting by place deals the
    classes out evenly, and a prefix is off by about one row a class. Float labels are merely
    shuffled.
    """
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    if np.issubdtype(labels.dtype, np.floating):
        return shuffled
    place = np.empty(len(labels))
    for label in np.unique(labels):
        rows = shuffled[labels[shuffled] == label]
        place[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    # Stable on the shuffled rows: equal places do not favour a class or an early row.
    return shuffled[np.argsort(place[shuffled], kind="stable")]


def cut_evaluation(rows: int, size: int | None, seed: int) -> Rows:
    """Row numbers of an evaluation split, in order: all, or `size` of them where it has more."""
    if size is None or size >= rows:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, size, replace=False))


def _rows_of_groups(
    groups: Sequence[str],
    labels: Labels,
    selected: int,
    seed: int,
) -> NDArray[np.bool_]:
    """Which rows are of selection's groups.

    Shuffled ones as they fit into it, each time of the label that it lacks most (of a regression:
    the half), first such as bring no more of another label than it lacks (`BEYOND`). Then, where
    these do not fill it, the smallest other one, and where they have one label alone, the smallest
    one with another: these lose some of their rows.
    """
    halves = labels > np.median(labels) if labels.dtype.kind == "f" else labels
    codes = np.unique(halves, return_inverse=True)[1]
    names, members = np.unique(np.asarray(groups), return_inverse=True)
    counts = np.zeros((len(names), codes.max() + 1), dtype=np.int64)
    np.add.at(counts, (members, codes), 1)
    sizes, usual = counts.sum(axis=1), counts.argmax(axis=1)
    order = np.random.default_rng(seed).permutation(len(names))
    lacks, chosen = selected * np.bincount(codes) / len(codes), np.zeros(len(names), dtype=bool)
    left = selected
    for beyond in (BEYOND * selected, np.inf):
        order = order[~chosen[order]]
        waiting = [order[usual[order] == code][::-1].tolist() for code in range(counts.shape[1])]
        while any(waiting):
            code = max((c for c, queue in enumerate(waiting) if queue), key=lambda c: lacks[c])
            group = waiting[code].pop()
            if sizes[group] <= left and (counts[group] - lacks).max() <= beyond:
                chosen[group], left, lacks = True, left - sizes[group], lacks - counts[group]
    if left:
        _add_smallest(chosen, sizes, ~chosen)
    missing = counts[chosen].sum(axis=0) == 0
    if (~missing).sum() < 2:
        _add_smallest(chosen, sizes, ~chosen & (counts[:, missing].sum(axis=1) > 0))
    return np.asarray(chosen[members])


def _add_smallest(
    chosen: NDArray[np.bool_], sizes: NDArray[np.int64], among: NDArray[np.bool_]
) -> None:
    """Choose the smallest of some groups, where there is one."""
    others = np.flatnonzero(among)
    if len(others):
        chosen[others[np.argmin(sizes[others])]] = True


def _selection_size(sizes: Sizes, rows: int, name: str) -> int:
    asked = sizes.selection
    size = round(asked * rows) if isinstance(asked, float) else asked
    if not 2 <= size <= rows - 2:
        shown = f"{asked} ({size} rows)" if isinstance(asked, float) else str(asked)
        most = max(rows - 2, 0)
        allowed = f"2 to {most} rows, as train has {rows}"
        raise DataError(f"{name}: sizes.selection is {shown}; allowed: {allowed}")
    return size
