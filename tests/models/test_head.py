"""The head's start: its mean answer is the best constant one, whatever the encoder's lengths."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fishpal.models.classifier import Classifier
from fishpal.models.head import start_head
from fishpal.models.predict import predict
from fishpal.params.options import HeadOptions
from fishpal.records.facts import Scale, TaskFacts
from fishpal.records.task import TokenisedTask
from tests.conftest import labelled


@pytest.fixture
def loud(tiny_encoder):
    """An encoder whose pooled vectors are so long that a random head is sure of one class."""
    encoder = tiny_encoder()
    norm = encoder.model.encoder.layer[-1].output.LayerNorm
    with torch.no_grad():
        norm.weight.mul_(40)
        norm.bias.add_(40)
    return encoder


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.9, 0.1), (0.2, 0.5, 0.3)])
def test_the_mean_answer_is_the_classes_shares(loud, seed, shares):
    numbers = np.random.default_rng(seed).choice(len(shares), 120, p=shares).tolist()
    examples = labelled(numbers)
    task = TokenisedTask(TaskFacts("toy", tuple("abc"[: len(shares)]), pad_id=0), examples)
    head = start_head(loud, task, HeadOptions(seed=seed))
    logits = predict(Classifier(loud, head), examples, task.facts)
    answers = np.exp(logits - logits.max(axis=1, keepdims=True))
    answers /= answers.sum(axis=1, keepdims=True)
    assert answers.mean(axis=0) == pytest.approx(task.class_shares(), abs=0.002)
    with torch.no_grad():
        head.bias.copy_(torch.from_numpy(np.log(task.class_shares())))
    offset = predict(Classifier(loud, head), examples, task.facts).mean(axis=0)
    offset -= np.log(task.class_shares())
    assert np.ptp(offset) > 0.3, "the frequencies alone would not do here"


def test_the_mean_answer_of_a_regression_is_the_mean(loud):
    numbers = np.random.default_rng(0).normal(size=300)
    examples = labelled(numbers.tolist())
    task = TokenisedTask(TaskFacts("toy", None, 0, Scale(0.0, 1.0)), examples)
    model = Classifier(loud, start_head(loud, task, HeadOptions()))
    found = predict(model, examples, task.facts)[:, 0]
    assert abs(found.mean()) < 3 * found.std() / 16, "by 256 of them"
    assert abs(found.mean() - float(model.head.bias.item())) > 0.2
