"""Measuring Fisher information and choosing by it: the one place that calls the library's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from fishpal.common.kinds import ModuleKind
from fishpal.fisher.engine import measure_fisher
from fishpal.models.head import start_head
from fishpal.params.load import Params
from fishpal.params.methods import ByCriterion
from fishpal.params.options import SelectOptions
from fishpal.records.fisher_table import FisherTable
from fishpal.records.grams import Grams
from fishpal.records.pilot import Pilot
from fishpal.selection.methods import select_plan
from studies.criteria.design.plans import KINDS, Layers
from studies.criteria.trainings.inputs import fresh_encoder, load_data, study_encoder
from studies.criteria.trainings.keys import given


def measure(params: Params, task: str, size: int) -> tuple[FisherTable, Grams]:
    """On one thread, as cells are trained: so seconds compare, and cores change no digit."""
    torch.set_num_threads(1)
    data, encoder = load_data(task, size), fresh_encoder()
    head = start_head(encoder, data.task, params.head)
    return measure_fisher(encoder, head, data.task, params.modules, params.fisher, progress=False)


def choose(table: FisherTable, grams: Grams, params: Params, options: SelectOptions) -> Layers:
    """The plan of the highest score by `options.criterion` within its limits, noise or not."""
    rates, pilot = params.train.learning_rate, Pilot(1, "updates", 0.0)
    options = replace(options, fallback=None)
    plan = select_plan(table, grams, "chosen", ByCriterion(), options, rates, pilot)
    return tuple(None if kind is None else ModuleKind(kind) for kind in plan.layers)


def measured_parts(params: Params, task: str, size: int) -> dict[str, Any]:
    """What decides a measurement and the choice after it, as JSON values, for keys."""
    encoder = study_encoder()
    return {
        "data": load_data(task, size).sha256,
        "encoder": encoder.sha256,
        "pooling": encoder.pooling,
        "modules": {kind: given(getattr(params.modules, kind)) for kind in KINDS},
        "head": given(params.head),
        "fisher": given(params.fisher),
        "select": given(params.select),
        "learning_rate": given(params.train.learning_rate.fixed()),
    }
