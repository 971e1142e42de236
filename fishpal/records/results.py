"""What training and evaluating a cell leave for the report: one class a kind of file.

`load` raises `PlanError` with the file's name where it is missing or malformed.
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fishpal.common.errors import PlanError, brief
from fishpal.common.files import reading, replacing, write_csv
from fishpal.common.validate import Strict
from fishpal.records.facts import Precision
from fishpal.records.record import JsonRecord, without_default

Values = NDArray[Any]
PREDICTION_COLUMNS = ("row", "label", "prediction", "split")


@dataclass(frozen=True)
class Parameters(Strict):
    """Parameters updated in training; kept beyond the frozen encoder; encoder + kept."""

    trainable: int
    kept: int
    total: int


@dataclass(frozen=True)
class CellMetrics(JsonRecord):
    """`artifacts/evaluated/<cell>/metrics.json`: numbers by split, `n` and `loss` among them.

    `precision` is that of training, `evaluated` that of these numbers; left out where float32.
    """

    splits: dict[str, dict[str, float]]
    parameters: Parameters
    precision: Precision = "float32"
    evaluated: Precision = "float32"

    def to_json(self) -> dict[str, Any]:
        data = without_default(super().to_json(), "precision", "float32")
        return without_default(data, "evaluated", "float32")


@dataclass(frozen=True)
class Seconds(JsonRecord):
    """`artifacts/seconds/…`: wall clock of a stage, and of a training the machine's kind."""

    seconds: float
    device: str | None = None


@dataclass(frozen=True)
class CurvePoint(Strict):
    """One evaluation: mean losses since the last one (fit, None at the start) and now
    (selection), in the task's unit (`fishpal.models.classifier.task_loss`).

    `pick_loss` is what checkpoints are compared by: the selection loss after the best
    calibration, or as it is (`train.pick`). `kept`: these weights replaced those kept before.
    `collapsed`: the model answered every example alike (`fishpal.training.collapse`).
    """

    update: int
    epoch: float
    fit_loss: float | None
    selection_loss: float
    pick_loss: float
    kept: bool
    collapsed: bool = False


def lowest_loss(points: Sequence[CurvePoint]) -> float:
    """As looks are compared, of those that had not collapsed, as the start never has."""
    return min(point.pick_loss for point in points if not point.collapsed)


@dataclass(frozen=True)
class Curve:
    """`artifacts/curves/<cell>.csv`: one evaluation a row, update 0 being the start."""

    points: tuple[CurvePoint, ...]

    @property
    def updates(self) -> list[int]:
        return [point.update for point in self.points]

    @property
    def losses(self) -> list[float]:
        """On the selection part, as checkpoints are compared."""
        return [point.pick_loss for point in self.points]

    @property
    def best_update(self) -> int:
        """Whose weights were kept in the end; 0 is the untrained start."""
        return next(point.update for point in reversed(self.points) if point.kept)

    @property
    def collapsed(self) -> bool:
        """At some look."""
        return any(point.collapsed for point in self.points)

    def save(self, path: str | Path) -> None:
        rows = [
            (p.update, f"{p.epoch:.6g}", "" if p.fit_loss is None else p.fit_loss)
            + (p.selection_loss, p.pick_loss, int(p.kept), int(p.collapsed))
            for p in self.points
        ]
        write_csv(path, [field.name for field in fields(CurvePoint)], rows)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a curve; a row that is wrong is named."""
        header = [field.name for field in fields(CurvePoint)]
        damage = reading(path, "CSV", ValueError, csv.Error)
        with damage, Path(path).open(encoding="utf-8", newline="") as file:
            names, *rows = list(csv.reader(file)) or [[]]
        if names != header or not rows:
            raise PlanError(f"{path}: allowed: columns {','.join(header)} and one row or more")
        points: list[CurvePoint] = []
        for number, row in enumerate(rows, start=1):
            try:
                update, epoch, fit, selection, pick, kept, collapsed = row
                losses = float(fit) if fit else None, float(selection), float(pick)
                flags = bool(int(kept)), bool(int(collapsed))
                point = CurvePoint(int(update), float(epoch), *losses, *flags)
            except ValueError as error:
                raise PlanError(f"{path}: row {number}: {error}") from error
            least = points[-1].update + 1 if points else 0
            finite = all(math.isfinite(v) for v in astuple(point) if isinstance(v, float))
            if not finite or not least <= point.update < 2**63:
                raise PlanError(f"{path}: row {number}: allowed: rising updates and finite losses")
            points.append(point)
        if not any(point.kept for point in points):
            raise PlanError(f"{path}: kept is 0 in every row; allowed: 1 in one row or more")
        return cls(tuple(points))


@dataclass(frozen=True)
class Predictions:
    """`artifacts/evaluated/<cell>/predictions.parquet`: every evaluation split, in its rows' order.

    Both by split: (n,) class indices, or numbers in the label's own unit.
    """

    labels: dict[str, Values]
    predictions: dict[str, Values]

    def save(self, path: str | Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        tables = []
        for split, labels in self.labels.items():
            columns = (range(len(labels)), labels, self.predictions[split], [split] * len(labels))
            tables.append(pa.table(list(map(pa.array, columns)), list(PREDICTION_COLUMNS)))
        with replacing(path) as draft:
            pq.write_table(pa.concat_tables(tables), draft)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read predictions; splits by name, examples by row."""
        columns = _read_columns(path)
        labels, predictions = {}, {}
        for split in sorted(set(columns["split"].tolist())):
            of_split = np.flatnonzero(columns["split"] == split)
            rows = columns["row"][of_split]
            order = of_split[np.argsort(rows, kind="stable")]
            if len(set(rows.tolist())) != len(rows):
                found = f"split '{brief(split)}' holds a row twice"
                raise PlanError(f"{path}: {found}; allowed: each once")
            labels[split] = columns["label"][order]
            predictions[split] = columns["prediction"][order]
        if not labels:
            raise PlanError(f"{path}: holds no rows; allowed: one or more")
        return cls(labels, predictions)


def _read_columns(path: str | Path) -> dict[str, Values]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    damage = (pa.ArrowException, KeyError, UnicodeDecodeError)
    with reading(path, "a predictions file", *damage):
        # Not through the dataset reader, which is slower to import and guesses partitions.
        table = pq.ParquetFile(path).read(columns=list(PREDICTION_COLUMNS))
        split, row = table["split"].type, table["row"].type
        if split not in (pa.string(), pa.large_string()) or not pa.types.is_integer(row):
            raise pa.ArrowInvalid(f"split and row are {split} and {row}")
        if any(table[name].null_count for name in PREDICTION_COLUMNS):
            raise pa.ArrowInvalid("a cell is null")
        return {name: table[name].to_numpy() for name in PREDICTION_COLUMNS}
