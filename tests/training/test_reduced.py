"""Training in bfloat16: what it tells of the model is what the model gives.

Every other test trains in float32, whatever the machine computes natively (`tests.conftest`).
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fishpal.common.kinds import ModuleKind
from fishpal.models.precision import Passes
from fishpal.models.predict import mean_loss, predict
from fishpal.records.examples import labels
from tests.conftest import task_facts
from tests.training.test_pilot import RATES
from tests.training.test_training import OPTIONS, learnable, plan_for, trained

LOW = replace(OPTIONS, precision="bfloat16", pick="loss", updates=20, epochs=None, batch_size=8)
ROUNDING = 2.0**-8  # of bfloat16, relative
CASES = [(kind, "linear") for kind in (*ModuleKind, None, "full")] + [("lora", "averaged")]


def selection_loss(model, examples, precision) -> float:
    """Anew, with weights that no pass before has cast."""
    with Passes(model, precision)():
        logits = predict(model, examples, task_facts(2))
    return mean_loss(logits, labels(examples))


@pytest.mark.parametrize(("kind", "schedule"), CASES)
def test_what_is_told_is_what_is_given_back(tiny_encoder, kind, schedule):
    encoder, full = tiny_encoder(), kind == "full"
    layers = (None if full else kind,) * encoder.facts.layers
    plan = replace(plan_for(encoder, *layers, full=full), learning_rate=replace(RATES, full=1e-3))
    examples = learnable(48)
    options = replace(LOW, schedule=schedule)
    model, result = trained(encoder, plan, options=options, examples=examples)
    assert result.precision == "bfloat16" and result.best_loss < result.curve[0].selection_loss
    told = result.best_loss
    assert selection_loss(model, examples[:12], "bfloat16") == pytest.approx(told, rel=1e-6)
    assert selection_loss(model, examples[:12], "float32") == pytest.approx(told, abs=8 * ROUNDING)
    assert all(p.dtype == torch.float32 for p in model.parameters())
