"""Training one plan of one task, size and seed, and keeping what came of it.

A cell's file holds its key, the hash of all that decides the result; a cell whose file has the
right key is not trained again. So a killed run goes on where it was, a deleted file is the one
that is made again, and new seeds or plans cost only themselves. The code is not part of the key:
`study.protocol` is, and is raised by hand where a change of code should train everything again.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from fishpal.common.errors import DataError
from fishpal.common.files import read_json, write_text
from fishpal.encoders.encoder import facts_of, fingerprint, load_encoder
from fishpal.encoders.pooling import load_pooling
from fishpal.metrics import metric
from fishpal.models.head import start_head
from fishpal.models.planned import plan_model
from fishpal.models.predict import decide, mean_loss, predict
from fishpal.modules.attach import detach
from fishpal.params.load import Params, load_params
from fishpal.params.options import LearningRates, ModuleOptions, TrainOptions
from fishpal.records.arrow import ArrowSplit
from fishpal.records.examples import Example
from fishpal.records.facts import EncoderFacts, TaskFacts
from fishpal.records.plan import Plan, Reason
from fishpal.training.train import train
from studies.criteria.design.plans import Layers
from studies.criteria.design.settings import Study

ARTIFACTS = Path("artifacts")


@dataclass(frozen=True)
class Cell:
    """One training: a named plan on the first `size` fit examples of a task.

    Attributes:
        layers: the plan's kind, or none, at each layer.
        score: measure the evaluation split, too; a sweep must not look at it.
    """

    task: str
    size: int
    name: str
    seed: int
    layers: Layers
    modules: ModuleOptions
    learning_rate: LearningRates
    updates: int
    evaluations: int
    protocol: int
    score: bool = True

    def path(self, folder: Path) -> Path:
        return folder / f"{self.name}-{self.seed}.json"


def study_cell(
    params: Params, study: Study, task: str, name: str, seed: int, layers: Layers
) -> Cell:
    """A cell of the study's first size, with params.yaml's modules and rates."""
    return Cell(
        task=task,
        size=study.sizes[0],
        name=name,
        seed=seed,
        layers=layers,
        modules=params.modules,
        learning_rate=params.train.learning_rate,
        updates=study.updates,
        evaluations=study.evaluations,
        protocol=study.protocol,
    )


@dataclass(frozen=True)
class Data:
    """A task's parts, as lists, and their hash."""

    facts: TaskFacts
    fit: list[Example]
    selection: list[Example]
    evaluation: list[Example]
    sha256: str


@cache
def load_data(task: str, size: int) -> Data:
    """The first `size` fit examples, the selection part and the evaluation split of a task.

    The evaluation split is `test` where the task has one.

    Raises:
        DataError: where the fit part is smaller than `size`.
    """
    tokens = ARTIFACTS / "tokens" / task
    fit = ArrowSplit(tokens / "fit.arrow")
    if len(fit) < size:
        raise DataError(f"{task}: study.sizes asks for {size} examples; allowed: to {len(fit)}")
    splits = {path.stem: path for path in sorted((tokens / "evaluation").glob("*.arrow"))}
    evaluation = splits.get("test") or next(iter(splits.values()))
    parts = [
        fit[:size],
        list(ArrowSplit(tokens / "selection.arrow")),
        list(ArrowSplit(evaluation)),
    ]
    text = json.dumps([[asdict(example) for example in part] for part in parts])
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    return Data(TaskFacts.load(tokens / "task.json"), parts[0], parts[1], parts[2], sha256)


@cache
def _encoder() -> tuple[torch.nn.Module, str]:
    encoder = load_encoder(ARTIFACTS / "encoder")
    return encoder, fingerprint(encoder)


def encoder_facts() -> EncoderFacts:
    """Of the study's encoder, which a process loads once."""
    return facts_of(_encoder()[0])


@cache
def _params() -> Params:
    return load_params()


def train_options(cell: Cell, base: TrainOptions) -> TrainOptions:
    """`base` with as many epochs as come nearest to the cell's updates."""
    per_epoch = -(-cell.size // base.batch_size)
    epochs = max(1, round(cell.updates / per_epoch))
    return replace(base, epochs=epochs, evaluations_per_epoch=cell.evaluations / epochs)


def cell_plan(cell: Cell) -> Plan:
    return Plan(
        cell.task,
        cell.name,
        encoder_facts(),
        cell.layers,
        Reason("uniform"),
        modules=cell.modules,
        learning_rate=cell.learning_rate,
    )


def cell_key(cell: Cell) -> str:
    """Hash of everything that decides the cell's result, the code apart."""
    params, plan = _params(), cell_plan(cell).to_json()
    options = asdict(train_options(cell, params.train))
    del options["learning_rate"]  # the plan's are used, and only where the plan has the kind
    parts = {
        "protocol": cell.protocol,
        "data": load_data(cell.task, cell.size).sha256,
        "encoder": _encoder()[1],
        "pooling": load_pooling(ARTIFACTS / "encoder"),
        "plan": {key: plan[key] for key in ("layers", "modules", "learning_rate")},
        "head": asdict(params.head),
        "train": options,
        "seed": cell.seed,
        "score": cell.score,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def missing(cells: Iterable[Cell], folder: Path) -> list[Cell]:
    """The cells without a file of the right key."""
    return [cell for cell in cells if _stored_key(cell.path(folder)) != cell_key(cell)]


def _stored_key(path: Path) -> Any:
    return read_json(path).get("key") if path.is_file() else None


def run_cell(cell: Cell, folder: Path) -> None:
    """Train and score one cell, and write its file."""
    params, data, plan = _params(), load_data(cell.task, cell.size), cell_plan(cell)
    encoder, pooling = _encoder()[0], load_pooling(ARTIFACTS / "encoder")
    head = start_head(encoder, pooling, data.facts, data.fit, params.head)
    model = plan_model(encoder, head, plan, pooling, cell.seed, params.train.train_head)
    options = train_options(cell, params.train)
    try:
        start = time.perf_counter()
        result = train(
            model, plan, data.fit, data.selection, data.facts, options, cell.seed, progress=False
        )
        seconds = time.perf_counter() - start
        found = _scores(cell, model, data, params) if cell.score else {}
    finally:
        detach(list(model.candidates()))
    _write(
        cell.path(folder),
        {
            "key": cell_key(cell),
            "task": cell.task,
            "size": cell.size,
            "plan": cell.name,
            "seed": cell.seed,
            "layers": cell.layers,
            "kept": sum(module.kept_parameters for module in model.candidates()),
            "updates": cell.updates,
            "seconds": round(seconds, 2),
            "best_update": result.best_update,
            "selection_loss": result.best_loss,
            "curve": [[p.update, p.fit_loss, p.selection_loss] for p in result.curve],
            **found,
        },
    )


def _write(path: Path, result: dict[str, Any]) -> None:
    """One line a key: hundreds of these files are kept in git."""
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in result.items()]
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def _scores(cell: Cell, model: Any, data: Data, params: Params) -> dict[str, Any]:
    """Loss, main metric and predictions on the evaluation split."""
    half = params.train.precision == "bfloat16"
    device = model.head.weight.device
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
        logits = predict(model, data.evaluation, data.facts, params.evaluate.batch_size)
    predictions = decide(logits, data.facts.labels is None)
    labels = np.array([example.label for example in data.evaluation])
    name = params.task(cell.task).metrics[0]
    return {
        "loss": mean_loss(logits, data.evaluation),
        "metric": name,
        "score": metric(name)(labels, predictions, data.facts.outputs),
        "predictions": pack(predictions),
    }


def pack(predictions: ArrayLike) -> list[float] | str:
    """Class numbers as one string of digits where they are below ten; else a list."""
    values = np.asarray(predictions)
    if np.issubdtype(values.dtype, np.integer) and values.max(initial=0) < 10:
        return "".join(map(str, values.tolist()))
    return [float(value) for value in values]
