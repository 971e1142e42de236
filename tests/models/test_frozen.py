"""Outputs of frozen layers that are kept, against computing them anew."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from fishpal.common.errors import FishpalWarning
from fishpal.common.kinds import ModuleKind
from fishpal.encoders.ports import LINEAR
from fishpal.models import frozen
from fishpal.models.batching import by_length, collate
from fishpal.models.frozen import FrozenOutputs, draws_numbers
from fishpal.models.head import start_head
from fishpal.models.planned import plan_model
from fishpal.models.predict import predict
from fishpal.params.options import HeadOptions, TrainOptions
from fishpal.records.plan import Plan, Reason
from fishpal.records.task import TokenisedTask
from fishpal.training.train import train
from tests.conftest import EVERY_TYPE, random_examples, task_facts
from tests.modules.test_modules import SMALL, shake

A, L = ModuleKind.ADAPTER, ModuleKind.LORA
FIT, SELECTION = random_examples(24, seed=1), random_examples(70, seed=2)
TASK = TokenisedTask(task_facts(), FIT, SELECTION)
OPTIONS = TrainOptions(epochs=3, batch_size=8, device="cpu", encoder_dropout=False)


def model_of(encoder, layers):
    plan = Plan("toy", "test", encoder.facts, layers, Reason("uniform"), modules=SMALL)
    return plan_model(encoder, start_head(encoder, TASK, HeadOptions()), plan, 0), plan


@pytest.mark.parametrize("kind", EVERY_TYPE)
@pytest.mark.parametrize("layers", [(None, None, L), (None, A, None), (None, None, None)])
def test_kept_outputs_give_the_same_logits(tiny_encoder, kind, layers):
    """To the bit in the batches that they were computed in; else up to rounding."""
    model, _ = model_of(tiny_encoder(kind), layers)
    shake(list(model.candidates()))
    model.eval()
    kept = FrozenOutputs(model, SELECTION, 0)
    calls = []
    lowest = frozen.layers_of(model.encoder)[0]
    part = next(m for m in lowest.modules() if isinstance(m, LINEAR))
    handle = part.register_forward_hook(lambda *_: calls.append(1))
    found = predict(model, SELECTION, TASK.facts, frozen=kept)
    assert not calls, "no frozen layer was computed"
    handle.remove()
    assert np.array_equal(found, predict(model, SELECTION, TASK.facts))
    rows = by_length(SELECTION, 64)[0][::-1][:5] + [0]  # among others, in another order
    batch = collate([SELECTION[row] for row in rows], 0)
    del batch["labels"]
    torch.testing.assert_close(kept.logits(batch, rows), model(**batch), rtol=1e-4, atol=1e-5)


def run(tiny_encoder, layers, options=OPTIONS, kind="bert"):
    """Trained weights, and what happened."""
    model, plan = model_of(tiny_encoder(kind), layers)
    result = train(model, plan, TASK, options, 0, progress=False)
    return torch.cat([p.detach().flatten() for p in model.parameters() if p.requires_grad]), result


@pytest.mark.parametrize("layers", [(None, None, L), (None, None, None)])
def test_training_with_kept_outputs_is_the_same(tiny_encoder, layers):
    weights, result = run(tiny_encoder, layers)
    again, _ = run(tiny_encoder, layers)
    anew, other = run(tiny_encoder, layers, replace(OPTIONS, reuse_frozen="never"))
    assert torch.equal(weights, again), "two runs give the same bytes"
    torch.testing.assert_close(weights, anew, rtol=1e-3, atol=1e-5)
    assert result.curve[0] == other.curve[0]
    assert result.best_loss == pytest.approx(other.best_loss, rel=1e-4)


def test_with_dropout_only_the_selection_part_is_kept(tiny_encoder):
    """Which changes no bit."""
    options = replace(OPTIONS, encoder_dropout=True)
    weights, result = run(tiny_encoder, (None, None, L), options)
    anew, other = run(tiny_encoder, (None, None, L), replace(options, reuse_frozen="never"))
    assert torch.equal(weights, anew) and result.curve == other.curve
    off, _ = run(tiny_encoder, (None, None, L))
    assert not torch.allclose(weights, off)


def test_dropout_is_found_whatever_makes_it(tiny_encoder):
    def draws(kind):
        model, _ = model_of(tiny_encoder(kind), (L, None, None))
        before = torch.get_rng_state()
        found = draws_numbers(model, FIT[0], 0)
        assert torch.equal(before, torch.get_rng_state())
        return found

    assert draws("bert") and draws("deberta-v2") and not draws("llama")


def test_too_large_a_part_is_computed_anew(tiny_encoder, monkeypatch):
    monkeypatch.setattr(frozen, "MOST_BYTES", 24 * 12 * 16 * 4)  # of fit, not of selection
    with pytest.warns(FishpalWarning, match="reuse_frozen: outputs for selection take .* anew"):
        weights, _ = run(tiny_encoder, (None, None, L))
    with warnings.catch_warnings():
        warnings.simplefilter("error", FishpalWarning)
        anew, _ = run(tiny_encoder, (None, None, L), replace(OPTIONS, reuse_frozen="never"))
    torch.testing.assert_close(weights, anew, rtol=1e-3, atol=1e-5)
