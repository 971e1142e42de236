"""Training one plan of one task, size and seed: the one place that calls the library's training."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from fishpal.metrics import metric
from fishpal.models.head import start_head
from fishpal.models.planned import plan_model
from fishpal.models.predict import decide, mean_loss, predict
from fishpal.params.load import Params
from fishpal.params.module_options import ModuleOptions
from fishpal.params.options import LearningRates, TrainOptions
from fishpal.records.plan import Plan, Reason
from fishpal.training.train import train
from studies.criteria.design.names import label
from studies.criteria.design.plans import Choice, Layers
from studies.criteria.design.settings import Study
from studies.criteria.trainings.inputs import Data, load_data, pack, study_encoder, study_params
from studies.criteria.trainings.keys import given, key_of
from studies.criteria.trainings.provenance import provenance
from studies.criteria.trainings.store import Wanted, keep


@dataclass(frozen=True)
class Cell:
    """One training: a plan on the first `size` fit examples of a task.

    Attributes:
        columns: what tells it apart (`names.COLUMNS`): task, size, rule, updates, seed at least.
        layers: the plan's kind, or none, at each layer.
        score: measure the evaluation split, too; a sweep must not look at it.
    """

    columns: dict[str, Any]
    layers: Layers
    modules: ModuleOptions
    rates: LearningRates
    evaluations: int
    protocol: int
    score: bool = True

    @property
    def data(self) -> Data:
        return load_data(self.columns["task"], self.columns["size"])

    @property
    def wanted(self) -> Wanted:
        """Its line in the store."""
        return Wanted(self.columns, cell_key(self))


def study_cells(
    params: Params, study: Study, plans: Sequence[Choice], *, seeds: Sequence[int], **columns: Any
) -> list[Cell]:
    """Cells of the study's first size and updates, with params.yaml's modules and rates.

    Args:
        columns: `task`, and what differs.
    """
    shared = {"size": study.sizes[0], "updates": study.updates} | columns
    return [
        Cell(
            columns={**shared, **plan.columns, "seed": seed},
            layers=plan.layers,
            modules=plan.modules or params.modules,
            rates=params.train.learning_rate.fixed(),
            evaluations=study.evaluations,
            protocol=study.protocol,
        )
        for seed in seeds
        for plan in plans
    ]


def train_options(cell: Cell, base: TrainOptions) -> TrainOptions:
    """`base` with as many epochs as come nearest to the cell's updates."""
    per_epoch = -(-cell.columns["size"] // base.batch_size)
    epochs = max(1, round(cell.columns["updates"] / per_epoch))
    return replace(base, epochs=epochs, evaluations_per_epoch=cell.evaluations / epochs)


def plan_parts(cell: Cell) -> dict[str, Any]:
    """The plan as JSON values: sizes and rates of the kinds that it uses."""
    kinds = dict.fromkeys(kind.value for kind in cell.layers if kind is not None)
    return {
        "layers": list(cell.layers),
        "modules": {k: given(getattr(cell.modules, k)) for k in sorted(kinds)},
        "learning_rate": {k: getattr(cell.rates, k) for k in (*sorted(kinds), "head")},
    }


def cell_key(cell: Cell) -> str:
    """Hash of everything that decides the cell's result, the code apart."""
    params, encoder = study_params(), study_encoder()
    parts = {
        "protocol": cell.protocol,
        "data": cell.data.sha256,
        "encoder": encoder.sha256,
        "pooling": encoder.pooling,
        "plan": plan_parts(cell),
        "head": given(params.head),
        "train": given(train_options(cell, params.train)),
        "seed": cell.columns["seed"],
        "score": cell.score,
    }
    del parts["train"]["learning_rate"]  # the plan's are used, each where the plan has the kind
    return key_of(parts)


def run_cell(group: str, cell: Cell) -> None:
    """Train and score one cell, and keep its line."""
    params, data, encoder, seed = study_params(), cell.data, study_encoder(), cell.columns["seed"]
    plan = Plan(
        cell.columns["task"],
        label(cell.columns),
        encoder.facts,
        cell.layers,
        Reason(cell.columns["rule"]),
        modules=cell.modules,
        learning_rate=cell.rates,
    )
    head = start_head(encoder, data.task, params.head)
    model = plan_model(encoder, head, plan, seed, params.train.train_head, data.task)
    options = train_options(cell, params.train)
    try:
        start = time.perf_counter()
        result = train(model, plan, data.task, options, seed, progress=False)
        seconds = time.perf_counter() - start
        scores = _scores(cell, model, data, params) if cell.score else {}
    finally:
        modules = model.detach()
    line = {
        **plan_parts(cell),
        "kept": sum(module.kept_parameters for module in modules),
        "seconds": round(seconds, 2),
        "best_update": result.best_update,
        "selection_loss": result.best_loss,
        "curve": [[p.update, p.fit_loss, p.selection_loss] for p in result.curve],
        **scores,
        **provenance(group),
    }
    keep(group, cell.wanted, line)


def _scores(cell: Cell, model: Any, data: Data, params: Params) -> dict[str, Any]:
    """Loss, main metric, labels and predictions on the evaluation split."""
    half = params.train.precision == "bfloat16"
    device = model.head.weight.device
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
        facts, size = data.task.facts, params.evaluate.batch_size
        logits = predict(model, data.evaluation, facts, size)
    predictions = decide(logits, facts)
    name = params.task(cell.columns["task"]).metrics[0]
    return {
        "loss": mean_loss(logits, data.labels),
        "metric": name,
        "score": metric(name)(np.array(data.labels), predictions, facts.outputs),
        "labels": pack(data.labels),
        "predictions": pack(predictions.tolist()),
    }
