"""`compress` of the library: a smaller copy of a trained model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import fishpal
from tests.api.conftest import FAST, plan_of, texts_of

SMALL = 0.25


@pytest.fixture
def model(encoder, task):
    return fishpal.fit(encoder, task, plan_of(encoder, "lora"), options=FAST)


def test_a_smaller_copy_that_answers_as_well(model, task, tmp_path):
    texts, labels = texts_of(60, seed=1)
    truth = [("bad", "good")[label] for label in labels]
    before = model.logits(texts)
    small = fishpal.compress(model, task, SMALL, options=FAST)
    assert np.array_equal(model.logits(texts), before) and model.plan.modules.lora.rank == 8
    counts = [each.module.parameter_counts() for each in (model, small)]
    assert small.plan.modules.lora.rank == 2 and counts[1].kept < counts[0].kept
    assert np.mean(np.array(small.predict(texts)) == truth) > 0.9
    assert counts[1].trainable == counts[0].trainable
    small.save(tmp_path / "small")
    loaded = fishpal.load_model(tmp_path / "small", model.encoder)
    assert np.array_equal(loaded.logits(texts), small.logits(texts))
    assert loaded.module.parameter_counts() == counts[1]
    assert loaded.plan.to_json() == small.plan.to_json()


def test_it_is_what_fit_makes_of_such_a_plan(model, encoder, task):
    texts, _ = texts_of(20, seed=1)
    small = fishpal.compress(model, task, SMALL, options=FAST)
    plan = replace(model.plan, compress=SMALL)
    fitted = fishpal.fit(encoder, task, plan, options=FAST)
    assert np.array_equal(fitted.logits(texts), small.logits(texts))
    assert fitted.plan == small.plan and fitted.training == model.training == small.training


def test_within_a_margin(model, task):
    small = fishpal.compress(model, task, margin=10, options=FAST)
    assert small.plan.modules.lora.rank == 1
    same = fishpal.compress(model, task, margin=1e-12, options=FAST)
    assert same.plan.modules == model.plan.modules


def test_bad_arguments(model, task):
    texts, labels = texts_of(40)
    for share in (0, 1, "half"):
        with pytest.raises(fishpal.FishpalError, match="compress is"):
            fishpal.compress(model, task, share, options=FAST)
    for share, margin in ((None, None), (0.5, 0.1)):
        with pytest.raises(fishpal.FishpalError, match="share is .*; allowed: a number, where mar"):
            fishpal.compress(model, task, share, margin, options=FAST)
    with pytest.raises(fishpal.FishpalError, match="margin is -1"):
        fishpal.compress(model, task, margin=-1, options=FAST)
    other = fishpal.Task.from_lists(texts, [("no", "yes")[y] for y in labels], name="other")
    with pytest.raises(fishpal.FishpalError, match="other is another task than the model's"):
        fishpal.compress(model, other, 0.5, options=FAST)
    with pytest.raises(fishpal.FishpalError, match="model is"):
        fishpal.compress(model.module, task, 0.5, options=FAST)
