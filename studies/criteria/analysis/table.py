"""The cells' files as one tidy table, and a plan's results as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fishpal.common.errors import DataError
from fishpal.common.files import read_json
from fishpal.common.kinds import ModuleKind
from studies.criteria.design.names import CELLS
from studies.criteria.design.plans import Layers

COLUMNS = [
    "task", "size", "plan", "layers", "seed", "score", "loss", "selection_loss", "kept",
    "updates", "best_update", "seconds",
]  # fmt: skip
LETTERS = {None: "-", ModuleKind.PREFIX: "P", ModuleKind.ADAPTER: "A", ModuleKind.LORA: "L"}


def word(layers: Layers) -> str:
    """A plan as one letter a layer, from the lowest up: P, A, L, or - for none."""
    return "".join(LETTERS[kind] for kind in layers)


def read_cells(group: str) -> pd.DataFrame:
    """Every cell of a group (a folder of `cells/`), one row each, in the order of names.

    Also holds `predictions`, which the tidy table leaves out.

    Raises:
        DataError: where there is none.
    """
    rows = [read_json(path) for path in sorted((CELLS / group).rglob("*.json"))]
    if not rows:
        raise DataError(f"{CELLS / group}: no cells; run the stages that train them")
    frame = pd.DataFrame(rows)
    frame["layers"] = [word(tuple(each)) for each in frame["layers"]]
    return frame


def unpack(values: str | list[float]) -> NDArray[np.int64]:
    """Classes as the cells keep them: one digit each."""
    if not isinstance(values, str):
        raise DataError("predictions are no string of digits; the study compares classes, up to 10")
    return np.array([int(digit) for digit in values])


@dataclass(frozen=True)
class Trained:
    """All plans of one task and size: results are (P, S), NaN-free, higher is better.

    Attributes:
        plans: names, in order; `layers` the same as words.
        loss: minus the evaluation loss (nats).
        score: the main metric (0 to 1).
        predictions: plan → (S, n).
    """

    plans: tuple[str, ...]
    layers: tuple[str, ...]
    loss: NDArray[np.float64]
    score: NDArray[np.float64]
    kept: NDArray[np.int64]
    seconds: NDArray[np.float64]
    predictions: dict[str, NDArray[np.int64]]

    def index(self, name: str) -> int:
        """The place of the plan of that name."""
        return self.plans.index(name)

    def take(self, rows: Sequence[int]) -> Trained:
        """The plans at these places."""
        chosen = list(rows)
        names = tuple(self.plans[i] for i in chosen)
        return Trained(
            plans=names,
            layers=tuple(self.layers[i] for i in chosen),
            loss=self.loss[chosen],
            score=self.score[chosen],
            kept=self.kept[chosen],
            seconds=self.seconds[chosen],
            predictions={name: self.predictions[name] for name in names},
        )


def trained(frame: pd.DataFrame, task: str, size: int) -> Trained:
    """The plans that have every seed of this task and size."""
    part = frame[(frame.task == task) & (frame["size"] == size)]
    seeds = part.seed.nunique()
    whole = part.groupby("plan").filter(lambda group: len(group) == seeds)
    whole = whole.sort_values(["plan", "seed"])
    first = whole[whole.seed == whole.seed.min()]

    def wide(column: str) -> NDArray[np.float64]:
        return whole[column].to_numpy(dtype=np.float64).reshape(-1, seeds)

    digits = {
        str(plan): np.array([unpack(row) for row in group.predictions])
        for plan, group in whole.groupby("plan")
    }
    return Trained(
        plans=tuple(first.plan),
        layers=tuple(first.layers),
        loss=-wide("loss"),
        score=wide("score"),
        kept=first.kept.to_numpy(),
        seconds=wide("seconds"),
        predictions=digits,
    )
