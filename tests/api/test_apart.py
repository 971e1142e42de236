"""Models that share an encoder's weights, threads that share a model or train at once, and what
a process has set."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch

import fishpal
from fishpal.common.errors import PlanError
from fishpal.models.predict import mean_loss, predict
from fishpal.training.train import train
from tests.api.conftest import plan_of, texts_of
from tests.exports.conftest import TEXTS, make, text_encoders  # noqa: F401


@pytest.mark.parametrize("change", ["cast", "cast and back", "unfrozen"])
def test_what_is_done_to_one_model_leaves_others(make, change):  # noqa: F811
    first = make()
    second = make(first.encoder, kinds=("adapter",) * 3)
    before = second.logits(TEXTS)
    if change == "unfrozen":
        first.module.encoder.requires_grad_(True)
    else:
        first.module.half()
    if change == "cast and back":
        first.module.float()
    frozen = [*second.module.encoder.parameters(), *first.encoder.model.parameters()]
    assert not any(p.requires_grad for p in frozen)
    assert np.array_equal(second.logits(TEXTS), before)
    assert np.array_equal(make(first.encoder, kinds=("adapter",) * 3).logits(TEXTS), before)


def test_twins_share_memory(make):  # noqa: F811
    model = make()
    shared = {p.data_ptr() for p in model.encoder.model.parameters()}
    assert {p.data_ptr() for p in model.module.encoder.parameters()} == shared


def test_a_model_with_other_weights_in_its_encoder_is_not_saved(make, tmp_path):  # noqa: F811
    model = make()
    with torch.no_grad():
        next(model.copy(full=True).module.encoder.parameters()).add_(1)
    model.save(tmp_path / "unchanged")
    changed = model.copy(full=True)
    with torch.no_grad():
        next(changed.module.encoder.parameters()).add_(1)
    with pytest.raises(PlanError, match="encoder has other weights than its own"):
        changed.save(tmp_path / "changed")
    assert not (tmp_path / "changed").exists()


def wait(barrier):
    """A hook that changes nothing."""
    barrier.wait()


@pytest.mark.parametrize(
    "options",
    [
        fishpal.ModuleOptions(adapter=fishpal.AdapterOptions(placement="parallel")),
        fishpal.ModuleOptions(gates=True),
    ],
    ids=["parallel", "gates"],
)
def test_threads_in_one_model_keep_apart(encoder, task, options):
    """Both are held inside every layer until the other is there, too."""
    model = fishpal.start(encoder, task, replace(plan_of(encoder, "adapter"), modules=options))
    with torch.no_grad():
        for parameter in model.module.modules_.parameters():
            parameter.add_(torch.linspace(-1, 1, parameter.numel()).reshape(parameter.shape))
    texts = [["w1 w2 w3"], ["w30 w31 w32"]]
    expected = [model.logits(each) for each in texts]
    together = threading.Barrier(2, timeout=60)
    for layer in model.module.encoder.encoder.layer:
        # after the module's own hook there, which hands on what the pass has
        layer.intermediate.dense.register_forward_pre_hook(lambda *_: wait(together))
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(model.logits, texts))
    for mine, alone in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, alone, atol=1e-6)


def test_threads_cut_at_their_own_length(encoder, task):
    model = fishpal.start(encoder, task, plan_of(encoder))
    with torch.no_grad():
        model.module.head.weight.normal_()
    models = [replace(model, max_length=length) for length in (4, 30)]
    text = [" ".join(f"w{i}" for i in range(20))]
    expected = [each.logits(text) for each in models]
    assert not np.array_equal(*expected)
    encoded = [0, 1] * 40
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: models[i].logits(text), encoded))
    assert all(np.array_equal(one, expected[i]) for i, one in zip(encoded, found, strict=True))


SHORT = fishpal.TrainOptions(epochs=2, batch_size=8, evaluations_per_epoch=1, encoder_dropout=True)


def logits_of(encoder, task, seed):
    model = fishpal.fit(encoder, task, plan_of(encoder), seed, SHORT)
    return model.logits(texts_of(8)[0])


def test_trainings_of_two_threads_are_those_of_one(encoder, task):
    alone = [logits_of(encoder, task, seed) for seed in (0, 1)]
    found = {}

    def train(seed):
        found[seed] = logits_of(encoder, task, seed)

    threads = [threading.Thread(target=train, args=(seed,)) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, expected in enumerate(alone):
        assert np.array_equal(found[seed], expected)


@contextmanager
def doubles():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


STATES = {
    "double precision": doubles,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "no gradients": torch.no_grad,
    "inference": torch.inference_mode,
    "NumPy's errors raised": lambda: np.errstate(all="raise"),
}


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_a_callers_modes_change_no_training(encoder, task, state):
    expected = logits_of(encoder, task, 0)
    with state():
        model = fishpal.fit(encoder, task, plan_of(encoder), 0, SHORT)
        again = model.copy()
    assert np.array_equal(model.logits(texts_of(8)[0]), expected)
    assert np.array_equal(again.logits(texts_of(8)[0]), expected)


@pytest.mark.parametrize("state", [nullcontext, STATES["autocast"]], ids=["none", "autocast"])
def test_a_training_in_bfloat16_goes_on_with_its_own_weights(encoder, task, state):
    """autocast keeps cast weights until its outermost block ends, here the caller's or fit's own:
    every update would start from the first one's, and looks would see another model."""
    plan, low = plan_of(encoder), replace(SHORT, precision="bfloat16", encoder_dropout=False)
    tokens = task.tokenised(encoder)
    expected = train(fishpal.start(encoder, task, plan).module, plan, tokens, low, 0)
    assert len({point.selection_loss for point in expected.curve}) > 2
    with state():
        model = fishpal.fit(encoder, task, plan, 0, low)
    assert model.training == expected
    logits = predict(model.module, tokens.selection, tokens.facts)
    loss = mean_loss(logits, [example.label for example in tokens.selection])
    assert loss == pytest.approx(expected.best_loss, rel=2.0**-8)  # it is that of bfloat16


def test_processes_are_the_pipelines(encoder, task):
    with pytest.warns(fishpal.FishpalWarning, match="2 processes, which the pipeline starts"):
        fishpal.fit(encoder, task, plan_of(encoder), 0, replace(SHORT, processes=2))
