"""Calibration against scipy's and NumPy's own searches, and folded into a head."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import nn

from fishpal.models.calibration import calibrate

RNG = np.random.default_rng(0)


def cross_entropy(logits, targets):
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -(targets * log_p).sum(axis=1).mean()


def one_hot(labels, classes):
    return np.eye(classes)[labels]


def smoothed(labels, classes):
    """By the rule of succession: right once more than seen, wrong once, in one of the others."""
    n = len(labels)
    rows = [[1 / (classes - 1)] * classes for _ in labels]
    for row, label in zip(rows, labels, strict=True):
        row[label] = n + 1
    return np.array(rows) / (n + 2)


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("confidence", [0.05, 1.0, 20.0])
def test_the_temperature_is_where_a_plain_search_finds_it(classes, confidence):
    labels = RNG.integers(classes, size=90)
    logits = RNG.normal(size=(90, classes)) + 1.5 * one_hot(labels, classes)
    given = (confidence * logits).astype(np.float32)
    targets = smoothed(labels, classes)

    def loss(scale):
        return cross_entropy(scale * given.astype(np.float64), targets)

    best = scipy.optimize.minimize_scalar(loss, bounds=(1e-3, 1e3), method="bounded",
                                          options={"xatol": 1e-10})  # fmt: skip
    found = calibrate(given, labels.tolist())
    assert found.scale == pytest.approx(best.x, rel=1e-4) and found.shift == 0
    wanted = cross_entropy(found.scale * given.astype(np.float64), one_hot(labels, classes))
    assert found.loss == pytest.approx(wanted, rel=1e-9)
    if confidence == 20:
        assert found.loss < cross_entropy(given.astype(np.float64), one_hot(labels, classes))


def test_confidence_alone_changes_nothing_of_the_loss():
    labels = RNG.integers(3, size=60)
    logits = (RNG.normal(size=(60, 3)) + one_hot(labels, 3)).astype(np.float32)
    losses = [calibrate(factor * logits, labels.tolist()).loss for factor in (0.25, 1.0, 4.0)]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-6)


@pytest.mark.parametrize(("classes", "rows"), [(2, 20), (20, 4), (77, 1)])
def test_classes_that_separate_keep_a_finite_temperature(classes, rows):
    """By all rows, not by those of a class, which may be one."""
    labels, n = list(range(classes)) * rows, classes * rows
    found = calibrate(6 * np.eye(classes, dtype=np.float32)[labels], labels)
    assert math.exp(-found.loss) == pytest.approx((n + 1) / (n + 2), rel=1e-6)


@pytest.mark.parametrize("logits", [[[1.0, -1.0], [-1.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])
def test_worse_than_chance_ends_at_chance(logits):
    found = calibrate(np.array(logits, dtype=np.float32), [1, 0])
    assert 0 < found.scale < 1e-2 or logits[0] == [0.0, 0.0]
    assert found.loss == pytest.approx(math.log(2), abs=0.01)


def test_a_regression_gets_the_line_of_least_squares():
    labels = RNG.normal(size=50)
    outputs = (0.3 * labels - 2 + 0.1 * RNG.normal(size=50)).astype(np.float32)
    found = calibrate(outputs[:, None], labels.tolist())
    slope, intercept = np.polyfit(outputs.astype(np.float64), labels, 1)
    assert (found.scale, found.shift) == pytest.approx((slope, intercept), rel=1e-6)
    r = np.corrcoef(outputs, labels)[0, 1]
    assert found.loss == pytest.approx(0.5 * labels.var() * (1 - r**2), rel=1e-6)


@pytest.mark.parametrize("rows", [2, 3, 19])
def test_few_rows_of_a_regression_make_no_line(rows):
    labels = RNG.normal(size=rows)
    outputs = RNG.normal(size=(rows, 1)).astype(np.float32)
    found = calibrate(outputs, labels.tolist())
    assert (found.scale, found.shift) == (1.0, 0.0)
    assert found.loss == pytest.approx(0.5 * np.mean((outputs[:, 0] - labels) ** 2), rel=1e-6)


@pytest.mark.parametrize("outputs", [[1.0, 1.0, 1.0], [3.0, 2.0, 1.0]])
def test_a_regression_that_tells_nothing_answers_the_mean(outputs):
    labels, outputs = [1.0, 2.0, 6.0] * 7, outputs * 7
    found = calibrate(np.array(outputs, dtype=np.float32)[:, None], labels)
    assert (found.scale, found.shift) == pytest.approx((0.0, 3.0), abs=0.01)
    assert found.loss == pytest.approx(0.5 * np.var(labels), rel=1e-3)
    assert found.scale > 0, "equal answers would have no correlation"


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_folded_head_gives_calibrated_logits(outputs):
    head, features = nn.Linear(5, outputs), torch.randn(40, 5)
    with torch.no_grad():
        logits = head(features).numpy()
        labels = (
            logits[:, 0] * 2.0 + 1.0 if outputs == 1 else RNG.integers(outputs, size=40)
        ).tolist()
        found = calibrate(logits, labels)
        found.fold(head)
        wanted = found.scale * logits + found.shift
        np.testing.assert_allclose(head(features).numpy(), wanted, rtol=1e-5, atol=1e-6)
