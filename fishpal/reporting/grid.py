"""The artifacts of the current grid, read into typed objects for the report.

Every file is opened by the path of its cell, never by listing a folder: cells that an earlier,
wider grid left behind are not seen. A file that is missing or malformed raises `PlanError`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fishpal.common.errors import FishpalError, PlanError
from fishpal.metrics import METRICS
from fishpal.params.catalog import Task
from fishpal.params.load import Params
from fishpal.records.card import Card, SplitCounts, read_card, read_counts
from fishpal.records.plan import Plan
from fishpal.records.results import (
    CellMetrics,
    Curve,
    Parameters,
    read_curve,
    read_metrics,
    read_predictions,
    read_seconds,
)

Values = NDArray[Any]


@dataclass(frozen=True)
class Cell:
    """One task × method × seed.

    Attributes:
        predictions: split → (n,) in the order of the split's rows.
        seconds: wall clock of training.
    """

    seed: int
    metrics: CellMetrics
    predictions: dict[str, Values]
    curve: Curve
    seconds: float


@dataclass(frozen=True)
class MethodResults:
    """One method on one task: its plan and a cell a seed, in the grid's order.

    `selection_seconds` is what getting the plan cost: 0 for rules that measure nothing.
    """

    name: str
    plan: Plan
    cells: tuple[Cell, ...]
    selection_seconds: float

    @property
    def parameters(self) -> Parameters:
        return self.cells[0].metrics.parameters

    def scores(self, split: str, metric: str) -> Values:
        """One score a seed: (S,)."""
        return np.array([cell.metrics.splits[split][metric] for cell in self.cells])

    def predictions(self, split: str) -> Values:
        """(S, n)."""
        return np.stack([cell.predictions[split] for cell in self.cells])

    @property
    def training_seconds(self) -> float:
        return float(np.mean([cell.seconds for cell in self.cells]))


@dataclass(frozen=True)
class TaskResults:
    """All methods of one task.

    Attributes:
        headline: the splits that methods are compared on.
        labels: evaluation split → labels (n,), the same for every cell.
    """

    name: str
    task: Task
    card: Card
    counts: dict[str, SplitCounts]
    removed_duplicates: int
    methods: tuple[MethodResults, ...]
    headline: tuple[str, ...]
    labels: dict[str, Values]

    @property
    def metric(self) -> str:
        """The main metric: the first of the task's."""
        return self.task.metrics[0]

    @property
    def classes(self) -> int:
        """The number of classes; 1 for a regression."""
        return 1 if self.task.labels is None else len(self.task.labels)


def read_results(params: Params, artifacts: str | Path = "artifacts") -> tuple[TaskResults, ...]:
    """Every cell of `params.grid`.

    Raises:
        PlanError: naming the file that is missing, malformed or at odds with another.
    """
    return tuple(_read_task(params, Path(artifacts), name) for name in params.grid.tasks)


def _read_task(params: Params, root: Path, name: str) -> TaskResults:
    task = params.task(name)
    card = read_card(root / "raw" / name / "card.json")
    counts, removed = read_counts(root / "tokens" / name / "counts.json")
    labels: dict[str, Values] = {}
    methods = tuple(
        _read_method(params, root, name, method, labels) for method in params.grid.methods
    )
    headline = task.headline or (("test",) if "test" in labels else tuple(labels))
    for split in headline:
        if split not in labels:
            known = ", ".join(labels)
            raise PlanError(f"catalog.{name}.headline is '{split}'; allowed: {known}")
    return TaskResults(name, task, card, counts, removed, methods, headline, labels)


def _read_method(
    params: Params, root: Path, task: str, method: str, labels: dict[str, Values]
) -> MethodResults:
    plan = Plan.load(root / "plans" / task / f"{method}.json")
    cells = tuple(_read_cell(params, root, task, method, s, labels) for s in params.grid.seeds)
    seconds = 0.0
    if plan.reason.rule == "criterion":  # the Fisher table is measured for these alone
        seconds = read_seconds(root / "seconds" / "fisher" / f"{task}.json")
        seconds += read_seconds(root / "seconds" / "select" / task / f"{method}.json")
    return MethodResults(method, plan, cells, seconds)


def _read_cell(
    params: Params, root: Path, task: str, method: str, seed: int, labels: dict[str, Values]
) -> Cell:
    """Read a cell; the first fills `labels`, and the others have to agree with it."""
    place = Path(task, method)
    metrics_path = root / "metrics" / place / f"{seed}.json"
    predictions_path = root / "predictions" / place / f"{seed}.parquet"
    metrics = read_metrics(metrics_path)
    found = read_predictions(predictions_path)
    if not labels:
        labels.update({split: truth for split, (truth, _) in found.items()})
    same = list(found) == list(labels)
    if not same or any(not np.array_equal(found[s][0], labels[s]) for s in labels):
        raise PlanError(f"{predictions_path}: rows or labels are not those of the task's others")
    predictions = {split: predicted for split, (_, predicted) in found.items()}
    _check_metrics(metrics_path, metrics, params.task(task), labels, predictions)
    return Cell(
        seed=seed,
        metrics=metrics,
        predictions=predictions,
        curve=read_curve(root / "curves" / place / f"{seed}.csv"),
        seconds=read_seconds(root / "seconds" / "train" / place / f"{seed}.json"),
    )


def _check_metrics(
    path: Path,
    metrics: CellMetrics,
    task: Task,
    labels: dict[str, Values],
    predictions: dict[str, Values],
) -> None:
    """Metrics have to be complete and those of the predictions beside them."""
    classes = 1 if task.labels is None else len(task.labels)
    for split, truth in labels.items():
        scores = metrics.splits.get(split)
        for key in ("n", "loss", *task.metrics):
            if scores is None or key not in scores:
                raise PlanError(f"{path}: splits.{split}.{key} is missing")
        assert scores is not None
        main = task.metrics[0]
        try:
            expected = METRICS[main](truth, predictions[split], classes)
        except FishpalError as error:
            raise PlanError(f"{path}: the predictions beside it: {split}: {error}") from error
        # Predictions of a regression may be stored in single precision.
        if scores["n"] != len(truth) or abs(scores[main] - expected) > 1e-4:
            raise PlanError(
                f"{path}: splits.{split} has n {scores['n']:g}, {main} {scores[main]:.6f};"
                f" allowed: those of the predictions, {len(truth)} and {expected:.6f}"
            )
