"""The store's lines as one tidy table, and a plan's results as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fishpal.common.errors import DataError
from studies.criteria.design.names import COLUMNS, Columns, label, store_path, word
from studies.criteria.trainings.store import PREDICTIONS, read_lines, read_predictions


def read_cells(group: str, predicted: bool = False) -> pd.DataFrame:
    """Every line of a group, one row each, with `plan`, its label; `layers` are words.

    Args:
        predicted: also `labels` and `predictions`.

    Raises:
        DataError: where there is no line, or one without predictions.
    """
    lines = read_lines(group)
    if not lines:
        raise DataError(f"{store_path(group)}: no lines; run the stage that makes them")
    frame = pd.DataFrame(lines).assign(plan=[label(line) for line in lines])
    frame["layers"] = [word(tuple(each)) for each in frame["layers"]]
    if not predicted:
        return frame
    apart = read_predictions()
    lacking = [line for line in lines if line["key"] not in apart]
    if lacking:
        found = f"lacks {len(lacking)} of the {len(lines)} lines of {store_path(group)}"
        raise DataError(f"{PREDICTIONS}: {found}; delete those lines, to have them made again")
    return frame.assign(**pd.DataFrame([apart[key] for key in frame.key]))


def unpack(digits: str) -> NDArray[np.int64]:
    """Classes as the store keeps them: one digit each."""
    return np.array([int(digit) for digit in digits])


@dataclass(frozen=True)
class Trained:
    """All plans of one task and size: results are (P, S), NaN-free, higher is better.

    Attributes:
        plans: labels, in order; `columns` say how each plan came about, `layers` are words.
        loss: minus the evaluation loss (nats).
        score: the main metric (0 to 1).
        predictions: (P, S, n).
    """

    plans: tuple[str, ...]
    columns: tuple[Columns, ...]
    layers: tuple[str, ...]
    loss: NDArray[np.float64]
    score: NDArray[np.float64]
    kept: NDArray[np.int64]
    seconds: NDArray[np.float64]
    predictions: NDArray[np.int64]

    def where(self, **columns: Any) -> list[int]:
        """The places of the plans with these columns; None: without that column."""
        return [
            place
            for place, own in enumerate(self.columns)
            if all(own.get(name) == value for name, value in columns.items())
        ]

    def index(self, **columns: Any) -> int:
        """The place of the one plan with these columns."""
        (place,) = self.where(**columns)
        return place

    def uniform(self, kind: str) -> int:
        """The place of the plan with one kind at every layer."""
        return self.index(rule="uniform", kind=kind)

    def take(self, rows: Sequence[int]) -> Trained:
        """The plans at these places."""
        chosen = list(rows)
        return Trained(
            plans=tuple(self.plans[i] for i in chosen),
            columns=tuple(self.columns[i] for i in chosen),
            layers=tuple(self.layers[i] for i in chosen),
            loss=self.loss[chosen],
            score=self.score[chosen],
            kept=self.kept[chosen],
            seconds=self.seconds[chosen],
            predictions=self.predictions[chosen],
        )


def trained(frame: pd.DataFrame, task: str, size: int) -> Trained:
    """The plans that have every seed of this task and size, in the order of their labels."""
    part = frame[(frame.task == task) & (frame["size"] == size)]
    seeds = part.seed.nunique()
    whole = part.groupby("plan").filter(lambda group: len(group) == seeds)
    whole = whole.sort_values(["plan", "seed"])
    first = whole[whole.seed == whole.seed.min()]

    def wide(column: str) -> NDArray[np.float64]:
        return whole[column].to_numpy(dtype=np.float64).reshape(-1, seeds)

    digits = np.array([unpack(row) for row in whole.predictions])
    return Trained(
        plans=tuple(first.plan),
        columns=tuple(_columns(row) for row in first.to_dict("records")),
        layers=tuple(first.layers),
        loss=-wide("loss"),
        score=wide("score"),
        kept=first.kept.to_numpy(),
        seconds=wide("seconds"),
        predictions=digits.reshape(len(first), seeds, -1),
    )


def _columns(row: Columns) -> Columns:
    """The columns that a row has, its seed apart."""
    names = [name for name in COLUMNS if name in row and name != "seed"]
    return {name: row[name] for name in names if not pd.isna(row[name])}
