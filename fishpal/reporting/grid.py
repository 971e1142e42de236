"""The artifacts of the current grid, read into typed objects for the report.

Every file is opened by the path of its cell, never by listing a folder: cells that an earlier,
wider grid left behind are not seen. A file that is missing or malformed raises `PlanError`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fishpal.common.errors import FishpalError, PlanError
from fishpal.metrics import metric
from fishpal.params.catalog import Task
from fishpal.params.load import Params
from fishpal.records.card import Card, Counts
from fishpal.records.paths import Artifacts
from fishpal.records.pilot import Pilot, has_learnt
from fishpal.records.plan import Plan
from fishpal.records.results import CellMetrics, Curve, Parameters, Predictions, Seconds

Values = NDArray[Any]


@dataclass(frozen=True)
class Cell:
    """One task × method × seed; `seconds` and `device`, where that was noted, are of training."""

    seed: int
    metrics: CellMetrics
    predictions: Predictions
    curve: Curve
    seconds: float
    device: str | None


@dataclass(frozen=True)
class MethodResults:
    """One method on one task: its plan and a cell a seed, in the grid's order.

    `selection_seconds` is what getting the plan cost: 0 for rules that measure nothing;
    `constant_loss` the loss of the best constant answer on the selection part.
    """

    name: str
    plan: Plan
    cells: tuple[Cell, ...]
    selection_seconds: float
    constant_loss: float

    @property
    def rule(self) -> str:
        return self.plan.reason.rule

    @property
    def parameters(self) -> Parameters:
        """Of the cell that keeps the most: `compress: auto` ends by the seed."""
        return max((c.metrics.parameters for c in self.cells), key=lambda found: found.kept)

    def scores(self, split: str, metric: str) -> Values:
        """One score a seed: (S,)."""
        return np.array([cell.metrics.splits[split][metric] for cell in self.cells])

    def predictions(self, split: str) -> Values:
        """(S, n)."""
        return np.stack([cell.predictions.predictions[split] for cell in self.cells])

    @property
    def untrained(self) -> int:
        """Cells whose weights are those of an untrained start: no update lowered the selection
        loss."""
        return sum(c.curve.best_update == 0 and not self.from_probe(c) for c in self.cells)

    def from_probe(self, cell: Cell) -> bool:
        """Whether it is a head alone that knew its task at its start, as a probe does."""
        return self.plan.bare and has_learnt(cell.curve.losses[0], self.constant_loss)

    @property
    def kept_start(self) -> bool:
        """Whether all of them are."""
        return self.untrained == len(self.cells)

    @property
    def training_seconds(self) -> float:
        return float(np.mean([cell.seconds for cell in self.cells]))


@dataclass(frozen=True)
class TaskResults:
    """All methods of one task.

    Attributes:
        headline: the splits that methods are compared on.
        labels: evaluation split → labels (n,), the same for every cell.
        pilot: how long all of them were trained, and its seconds.
        compares: whether their head compares two texts.
    """

    name: str
    task: Task
    card: Card
    counts: Counts
    methods: tuple[MethodResults, ...]
    headline: tuple[str, ...]
    labels: dict[str, Values]
    pilot: Pilot
    pilot_seconds: float
    compares: bool

    @property
    def metric(self) -> str:
        """The main metric: the first of the task's."""
        return self.task.metrics[0]

    @property
    def classes(self) -> int:
        """The number of classes; 1 for a regression."""
        return 1 if self.task.labels is None else len(self.task.labels)

    @property
    def loss(self) -> str:
        """What the losses of this task are."""
        if self.task.labels is None:
            return "half the squared error of the standardised target"
        return "cross-entropy in nats"


def devices(tasks: Sequence[TaskResults]) -> Counter[str]:
    """Kind of machine → how many cells were trained on such a one."""
    cells = [cell for task in tasks for method in task.methods for cell in method.cells]
    return Counter(cell.device or "an unknown one" for cell in cells)


def read_results(params: Params, artifacts: str | Path = "artifacts") -> tuple[TaskResults, ...]:
    """Every cell of `params.grid`; `PlanError` names a file at odds with another, too."""
    paths = Artifacts(Path(artifacts))
    return tuple(_read_task(params, paths, name) for name in params.grid.tasks)


def _read_task(params: Params, paths: Artifacts, name: str) -> TaskResults:
    task = params.task(name)
    card = Card.load(paths.raw(name) / "card.json")
    counts = Counts.load(paths.tokens(name) / "counts.json")
    pilot = Pilot.load(paths.pilot(name))
    read = partial(_read_method, params, paths, name, floor=pilot.constant_loss)
    methods = tuple(map(read, params.grid.methods))
    labels = methods[0].cells[0].predictions.labels
    headline = task.headline or (("test",) if "test" in labels else tuple(labels))
    seconds = Seconds.load(paths.seconds("pilot", name)).seconds
    pair, regression = len(task.columns.text) == 2, task.labels is None
    compares = params.head.compares(pair=pair, regression=regression)
    results = TaskResults(
        name, task, card, counts, methods, headline, labels, pilot, seconds, compares
    )
    _check(results, paths)
    return results


def _read_method(
    params: Params, paths: Artifacts, task: str, method: str, floor: float
) -> MethodResults:
    plan = Plan.load(paths.plan(task, method))
    cells = tuple(_read_cell(paths, task, method, seed) for seed in params.grid.seeds)
    rule, seconds = plan.reason.rule, 0.0
    rates = (getattr(params.train.learning_rate, kind) for kind in params.fisher.kinds)
    raced = rule == "race" and (params.train.race.criteria or "auto" in rates)  # by the pilot
    if rule == "criterion" or plan.reason.rates or raced:
        seconds = Seconds.load(paths.seconds("fisher", task)).seconds
        seconds += Seconds.load(paths.seconds("select", task, method)).seconds
    if rule == "race":
        seconds += Seconds.load(paths.seconds("pilot", task)).seconds
    return MethodResults(method, plan, cells, seconds, floor)


def _read_cell(paths: Artifacts, task: str, method: str, seed: int) -> Cell:
    cell = task, method, seed
    training = Seconds.load(paths.seconds("train", *cell))
    return Cell(
        seed=seed,
        metrics=CellMetrics.load(paths.metrics(*cell)),
        predictions=Predictions.load(paths.predictions(*cell)),
        curve=Curve.load(paths.curve(*cell)),
        seconds=training.seconds,
        device=training.device,
    )


def _check(results: TaskResults, paths: Artifacts) -> None:
    """All cells have the same labels, and metrics that are those of their predictions."""
    first = results.methods[0]
    rows = {split: len(labels) for split, labels in results.labels.items()}
    counts = results.counts.splits.items()
    tokens = {split: count.rows for split, count in counts if split not in ("fit", "selection")}
    if rows != tokens:
        path = paths.predictions(results.name, first.name, first.cells[0].seed)
        raise PlanError(f"{path}: rows are {rows}; allowed: those of the tokens, {tokens}")
    for split in results.headline:
        if split not in results.labels:
            known = ", ".join(results.labels)
            raise PlanError(f"catalog.{results.name}.headline is '{split}'; allowed: {known}")
    for method in results.methods:
        for cell in method.cells:
            place = results.name, method.name, cell.seed
            found, labels = cell.predictions.labels, results.labels
            same = list(found) == list(labels)
            if not same or any(not np.array_equal(found[s], labels[s]) for s in labels):
                what = "rows or labels are not those of the task's others"
                raise PlanError(f"{paths.predictions(*place)}: {what}")
            for split in labels:
                _check_metrics(paths.metrics(*place), results, cell, split)


def _check_metrics(path: Path, results: TaskResults, cell: Cell, split: str) -> None:
    scores, truth, main = cell.metrics.splits.get(split, {}), results.labels[split], results.metric
    for key in ("n", "loss", *results.task.metrics):
        if key not in scores:
            raise PlanError(f"{path}: splits.{split}.{key} is missing")
    try:
        expected = metric(main)(truth, cell.predictions.predictions[split], results.classes)
    except FishpalError as error:
        raise PlanError(f"{path}: the predictions beside it: {split}: {error}") from error
    # Predictions of a regression may be stored in single precision.
    if scores["n"] != len(truth) or abs(scores[main] - expected) > 1e-4:
        found = f"n {scores['n']:g}, {main} {scores[main]:.6f}"
        allowed = f"those of the predictions, {len(truth)} and {expected:.6f}"
        raise PlanError(f"{path}: splits.{split} has {found}; allowed: {allowed}")
