"""Scores and predictions of a tiny model against a plain computation from its own logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from fishpal.common.errors import DataError
from fishpal.evaluation.evaluate import evaluate
from fishpal.models.classifier import Classifier
from tests.conftest import HIDDEN, random_examples, task_facts


def logits_of(model, examples):
    rows = []
    with torch.no_grad():
        for example in examples:
            ids = torch.tensor([example.input_ids])
            rows.append(model(input_ids=ids, attention_mask=torch.ones_like(ids))[0].double())
    return torch.stack(rows).numpy()


@pytest.fixture
def make_model(tiny_encoder):
    def make(classes):
        torch.manual_seed(0)
        return Classifier(tiny_encoder(), nn.Linear(HIDDEN, classes), "mean").eval()

    return make


def test_a_classification(make_model):
    model = make_model(3)
    splits = {name: random_examples(n, 3, seed=n) for name, n in (("test", 23), ("dev", 9))}
    names = ["macro_f1", "accuracy"]
    scores, predictions = evaluate(model, splits.items(), task_facts(3), names, batch_size=4)
    assert list(scores) == list(predictions.labels) == ["test", "dev"]
    for name, split in splits.items():
        logits = logits_of(model, split)
        labels = np.array([example.label for example in split])
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        assert list(scores[name]) == ["n", "loss", "macro_f1", "accuracy"]
        assert scores[name]["n"] == len(split)
        expected = -log_p[range(len(split)), labels].mean()
        assert scores[name]["loss"] == pytest.approx(expected, rel=1e-5)
        assert scores[name]["accuracy"] == np.mean(logits.argmax(axis=1) == labels)
        assert predictions.labels[name].tolist() == labels.tolist()
        assert predictions.predictions[name].tolist() == logits.argmax(axis=1).tolist()


def test_a_regression(make_model):
    model, split = make_model(1), random_examples(20, 1)
    scores, predictions = evaluate(model, [("test", split)], task_facts(1), ["pearson"])
    labels = [example.label for example in split]
    found = logits_of(model, split)[:, 0]
    assert predictions.predictions["test"] == pytest.approx(found, abs=1e-5)
    expected = stats.pearsonr(labels, found).statistic
    assert scores["test"]["pearson"] == pytest.approx(expected, abs=1e-5)


def test_logits_that_are_not_finite_are_refused(make_model):
    model = make_model(2)
    with torch.no_grad():
        model.head.weight.fill_(float("inf"))
    with pytest.raises(DataError, match="^logits of test are not finite; allowed: finite weights$"):
        evaluate(model, [("test", random_examples(5))], task_facts(), ["accuracy"])
