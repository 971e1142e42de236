"""Projections of the whole encoder's gradients, and the rate of full fine-tuning."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fishpal.common.errors import PlanError
from fishpal.common.kinds import ModuleKind
from fishpal.fisher.engine import measure_fisher
from fishpal.fisher.sample import draw_sample
from fishpal.models.batching import collate
from fishpal.models.classifier import Classifier
from fishpal.models.head import start_head
from fishpal.params.methods import Full, Uniform
from fishpal.params.options import FisherOptions, HeadOptions, RateOptions, SelectOptions
from fishpal.records.grams import Grams
from fishpal.records.pilot import Pilot
from fishpal.records.task import TokenisedTask
from fishpal.selection.methods import select_plan
from fishpal.selection.rates import explain_rate
from tests.conftest import EVERY_TYPE, random_examples, task_facts
from tests.modules.test_modules import SMALL
from tests.selection.test_rates import grams_of, log_likelihood, projections
from tests.selection.test_selection import make_table

OPTIONS = FisherOptions(
    kinds=(ModuleKind.ADAPTER,), examples=9, batch_size=4, device="cpu", full=True
)


def looped(encoder, head, task) -> np.ndarray:
    """(n) by one backward pass an example."""
    sample, model = draw_sample(task, OPTIONS), Classifier(encoder, head)
    model.eval()
    weights = list(encoder.model.parameters())
    rows = []
    for example in sample.examples:
        batch = collate([example], task.facts.pad_id)
        batch.pop("labels")
        with torch.enable_grad():
            for weight in weights:
                weight.requires_grad_()
            value = log_likelihood(model(**batch)[0], example.label)
            found = torch.autograd.grad(value, weights, materialize_grads=True, allow_unused=True)
        rows.append(torch.cat([gradient.flatten() for gradient in found]))
    gradients, half = torch.stack(rows), sample.half
    across = [
        g @ gradients[half != half[number]].mean(0).sign() for number, g in enumerate(gradients)
    ]
    return torch.stack(across).detach().numpy()


@pytest.mark.parametrize("kind", EVERY_TYPE)
@pytest.mark.parametrize("classes", [1, 3])
def test_projections_of_the_encoder_equal_a_loop(tiny_encoder, kind, classes):
    encoder = tiny_encoder(kind, double=True)
    task = TokenisedTask(task_facts(classes), random_examples(12, classes))
    head = start_head(encoder, task, HeadOptions()).double()
    _, grams = measure_fisher(encoder, head, task, SMALL, OPTIONS, progress=False)
    assert not any(weight.requires_grad for weight in encoder.model.parameters())
    again = tiny_encoder(kind, double=True)
    np.testing.assert_allclose(grams.full, looped(again, head, task), rtol=2e-5)


def test_dropout_of_no_strength_changes_nothing(tiny_encoder):
    """Though the encoder is in training mode then, which packs texts into a row."""
    found = []
    for dropout in (False, True):
        encoder = tiny_encoder(double=True)
        for layer in encoder.model.modules():
            if isinstance(layer, torch.nn.Dropout):
                layer.p = 0.0
            if hasattr(layer, "attention_dropout"):
                layer.attention_dropout = 0.0
        task = TokenisedTask(task_facts(), random_examples(12))
        head = start_head(encoder, task, HeadOptions()).double()
        options = replace(OPTIONS, dropout=dropout)
        found.append(measure_fisher(encoder, head, task, SMALL, options, progress=False))
    (still, still_grams), (table, grams) = found
    np.testing.assert_allclose(grams.full, still_grams.full, rtol=2e-5)
    assert [row.trace for row in table.rows] == pytest.approx([row.trace for row in still.rows])


def test_the_rate_of_full_fine_tuning_is_measured_where_asked_for(tiny_encoder, tmp_path):
    table, rates = make_table(), RateOptions(full="auto")
    grams = replace(grams_of(table, 5.0), full=projections(4.0, 1e-3, table.examples))
    grams.save(tmp_path / "grams.safetensors")
    grams = Grams.load(tmp_path / "grams.safetensors")
    pilot, options = Pilot(64, "updates", 1.0), SelectOptions()
    plan = select_plan(table, grams, "full", Full(), options, rates, pilot)
    expected = explain_rate("full", grams.full, 64)
    assert plan.learning_rate.full == expected.rate != RateOptions().full
    assert plan.reason.rates == {"full": expected}
    uniform = Uniform(kind=ModuleKind.ADAPTER)
    adapter = select_plan(table, grams, "m", uniform, options, rates, pilot)
    assert set(adapter.reason.rates) == {"adapter"}
    without = replace(grams, full=None)
    with pytest.raises(PlanError, match="learning_rate.full is auto, and .* fisher.full: true"):
        select_plan(table, without, "full", Full(), options, rates, pilot)
    select_plan(table, without, "m", uniform, options, rates, pilot)
    fixed = Full(learning_rate=1e-5)
    assert (
        select_plan(table, without, "full", fixed, options, rates, pilot).learning_rate.full == 1e-5
    )
