"""The artifacts that the report reads: one typed reader a kind of file.

A file that is missing or malformed raises `PlanError` with its name.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fishpal.common.errors import PlanError, brief
from fishpal.common.files import read_json
from fishpal.common.validate import decode

Values = NDArray[Any]
CURVE_COLUMNS = ("update", "epoch", "fit_loss", "selection_loss")
PREDICTION_COLUMNS = ("split", "row", "label", "prediction")


@dataclass(frozen=True)
class Parameters:
    """Parameters updated in training; kept beyond the frozen encoder; encoder + kept."""

    trainable: int
    kept: int
    total: int


@dataclass(frozen=True)
class CellMetrics:
    """`artifacts/metrics/<task>/<method>/<seed>.json`: numbers by split, `n` among them."""

    splits: dict[str, dict[str, float]]
    parameters: Parameters


@dataclass(frozen=True)
class Curve:
    """A learning curve: updates (m,) and the loss on the selection part after each (m,), nats."""

    updates: tuple[int, ...]
    selection_loss: tuple[float, ...]


@dataclass(frozen=True)
class Seconds:
    seconds: float


def read_metrics(path: Path) -> CellMetrics:
    """A cell's metrics by split and its numbers of parameters."""
    metrics: CellMetrics = decode(CellMetrics, read_json(path), str(path))
    return metrics


def read_seconds(path: Path) -> float:
    """Wall-clock seconds of a stage."""
    found: Seconds = decode(Seconds, read_json(path), str(path))
    return found.seconds


def read_curve(path: Path) -> Curve:
    """Read a learning curve with one evaluation a row.

    Raises:
        PlanError: naming file and row.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise PlanError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, csv.Error) as error:
        raise PlanError(f"{path}: not CSV: {error}") from error
    if not rows or tuple(rows[0]) != CURVE_COLUMNS:
        columns = ",".join(CURVE_COLUMNS)
        raise PlanError(f"{path}: allowed: columns {columns} and one row or more")
    updates, losses = [], []
    for number, row in enumerate(rows, start=1):
        try:
            updates.append(int(row["update"]))
            losses.append(float(row["selection_loss"]))
        except (TypeError, ValueError) as error:
            raise PlanError(f"{path}: row {number}: {error}") from error
        rising = updates == sorted(set(updates)) and updates[0] >= 0 and updates[-1] < 2**63
        if not math.isfinite(losses[-1]) or not rising:
            raise PlanError(f"{path}: row {number}: allowed: rising updates and finite losses")
    return Curve(tuple(updates), tuple(losses))


def read_predictions(path: Path) -> dict[str, tuple[Values, Values]]:
    """Labels and predictions (n,) by split; splits by name, examples by row.

    Raises:
        PlanError: naming the file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Not through the dataset reader, which is slower to import and guesses partitions.
        table = pq.ParquetFile(path).read(columns=list(PREDICTION_COLUMNS))
        split, row = table["split"].type, table["row"].type
        if split not in (pa.string(), pa.large_string()) or not pa.types.is_integer(row):
            raise pa.ArrowInvalid(f"split and row are {split} and {row}")
        if any(table[name].null_count for name in PREDICTION_COLUMNS):
            raise pa.ArrowInvalid("a cell is null")
        columns = {name: table[name].to_numpy() for name in PREDICTION_COLUMNS}
    except OSError as error:
        reason = error.strerror or brief(error, 160)
        raise PlanError(f"{path}: cannot be read: {reason}") from error
    except (pa.ArrowException, KeyError, UnicodeDecodeError) as error:
        raise PlanError(f"{path}: not a predictions file: {brief(error, 160)}") from error
    found = {}
    for split in sorted(set(columns["split"].tolist())):
        of_split = np.flatnonzero(columns["split"] == split)
        rows = columns["row"][of_split]
        order = of_split[np.argsort(rows, kind="stable")]
        if len(set(rows.tolist())) != len(rows):
            raise PlanError(f"{path}: split '{brief(split)}' holds a row twice; allowed: each once")
        found[str(split)] = (columns["label"][order], columns["prediction"][order])
    if not found:
        raise PlanError(f"{path}: holds no rows; allowed: one or more")
    return found
