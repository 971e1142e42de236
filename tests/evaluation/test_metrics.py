"""Metrics against scikit-learn and scipy, and through the `evaluate` interface."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from fishpal import metrics
from fishpal.common.errors import DataError, ParamsError
from fishpal.common.kinds import MetricName

ORACLES = {
    "accuracy": sk.accuracy_score,
    "f1": lambda y, p: sk.f1_score(y, p, zero_division=0),
    "macro_f1": lambda y, p: sk.f1_score(y, p, average="macro", zero_division=0),
    "matthews": sk.matthews_corrcoef,
}


def test_registry_holds_exactly_the_names_that_params_allow():
    assert set(metrics.METRICS) == set(MetricName)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("n", [1, 5, 200])
def test_classification_equals_scikit_learn(name, classes, n):
    if name == "f1" and classes > 2:
        return
    for seed in range(5):
        rng = np.random.default_rng([seed, classes, n])
        labels = rng.integers(classes, size=n)
        predictions = np.where(rng.random(n) < 0.5, labels, rng.integers(classes, size=n))
        found = metrics.METRICS[name](labels, predictions, classes)
        assert found == pytest.approx(ORACLES[name](labels, predictions), abs=1e-12)


@pytest.mark.parametrize(
    ("labels", "predictions"),
    [
        ([0, 0, 1, 1], [0, 0, 0, 0]),
        ([0, 0, 1, 1], [1, 1, 1, 1]),
        ([0, 0, 0], [0, 0, 0]),
        ([0, 0, 0], [1, 1, 1]),
        ([1, 1], [1, 1]),
        ([1], [1]),
    ],
)
@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_one_class_alone_equals_scikit_learn(name, labels, predictions):
    found = metrics.METRICS[name](np.array(labels), np.array(predictions), 2)
    assert found == pytest.approx(ORACLES[name](labels, predictions), abs=1e-12)


@pytest.mark.parametrize("name", ["pearson", "spearman"])
@pytest.mark.parametrize("n", [2, 3, 50, 400])
@pytest.mark.parametrize("ties", [False, True])
def test_correlations_equal_scipy(name, n, ties):
    oracle = {"pearson": stats.pearsonr, "spearman": stats.spearmanr}[name]
    for seed in range(5):
        rng = np.random.default_rng([seed, n])
        labels = rng.normal(size=n)
        predictions = labels + rng.normal(size=n)
        if ties:
            labels, predictions = np.round(labels), np.round(predictions)
        if np.ptp(labels) == 0 or np.ptp(predictions) == 0:
            continue
        found = metrics.METRICS[name](labels, predictions, 1)
        assert found == pytest.approx(oracle(labels, predictions).statistic, abs=1e-12)


@pytest.mark.parametrize("name", ["pearson", "spearman"])
def test_correlation_with_a_constant_is_zero(name):
    labels, constant = np.array([0.0, 1.0, 2.0]), np.full(3, 0.1)
    assert metrics.METRICS[name](labels, constant, 1) == 0.0
    assert metrics.METRICS[name](constant, labels, 1) == 0.0
    assert metrics.METRICS[name](labels[:1], labels[:1], 1) == 0.0


def test_correlation_is_safe_at_extreme_scales():
    labels = np.array([0.0, 1.0, 2.0, 5.0])
    for scale in (1e-300, 1e300):
        assert metrics.pearson(labels, labels * scale, 1) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("name", "labels", "predictions", "message"),
    [
        ("accuracy", [0, 1], [0, 2], "predictions: row 1 is 2; allowed: 0 to 1"),
        ("macro_f1", [-1, 1], [0, 1], "labels: row 0 is -1; allowed: 0 to 1"),
        ("matthews", [0, 1], [0], "shapes (2,) and (1,)"),
        ("f1", [], [], "empty"),
        ("f1", [0.0, 1.0], [0, 1], "labels are of type float64; allowed: integers"),
        ("pearson", [0.0, 1.0], [0.0, np.nan], "predictions: row 1 is nan"),
        ("spearman", ["a", "b"], [0.0, 1.0], "allowed: numbers"),
    ],
)
def test_bad_input_is_named(name, labels, predictions, message):
    with pytest.raises(DataError) as caught:
        metrics.metric(name)(np.array(labels), np.array(predictions), 2)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_several_metrics_at_once():
    labels, predictions = np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0])
    found = metrics.compute_metrics(["f1", "accuracy"], labels, predictions, 2)
    assert list(found.items()) == [("f1", 2 / 3), ("accuracy", 0.75)]
    with pytest.raises(ParamsError, match="did you mean 'macro_f1'"):
        metrics.compute_metrics(["accuracy", "macrof1"], labels, predictions, 2)


def test_unknown_metric_names_the_known_ones():
    with pytest.raises(ParamsError, match="did you mean 'accuracy'.*macro_f1"):
        metrics.metric("acuracy")


OFFLINE = """
import sys
import numpy as np
from fishpal.common.errors import DataError
from fishpal.evaluation.metric_classes import CLASSES
from fishpal.metrics import METRICS
import evaluate
assert set(CLASSES) == set(METRICS)
assert all(issubclass(kind, evaluate.Metric) for kind in CLASSES.values())
def compute(name, y, p, **more):
    scorer = CLASSES[name](keep_in_memory=True, cache_dir=sys.argv[1])
    return scorer.compute(references=y, predictions=p, **more)
rng = np.random.default_rng(0)
y, p = rng.integers(3, size=300), rng.integers(3, size=300)
for name in ("matthews", "accuracy", "macro_f1"):
    assert compute(name, y, p, classes=3) == compute(name, y, p) == {name: METRICS[name](y, p, 3)}
x, z = rng.normal(size=50), rng.normal(size=50).astype(np.float32)
for name in ("pearson", "spearman"):
    assert abs(compute(name, x, z)[name] - METRICS[name](x, z, 1)) < 1e-12
def refused(*given, **more):
    try:
        compute(*given, **more)
    except DataError as caught:
        return str(caught)
    raise AssertionError(given)
assert "row 1 is 3" in refused("accuracy", [0, 1], [0, 3], classes=2)
assert "row 1 is -1" in refused("accuracy", [0, 1], [0, -1])
assert "allowed: integers" in refused("accuracy", [0, 1.5], [0, 1], classes=2)
assert "row 0 is nan" in refused("pearson", [0.0, 1.0], [np.nan, 1.0])
"""


def test_evaluate_interface_works_offline_and_leaves_no_files(tmp_path):
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HOME": str(tmp_path),
        "HF_HOME": str(tmp_path / "hf"),
        "HTTPS_PROXY": "http://127.0.0.1:9",  # any request would fail
        "HTTP_PROXY": "http://127.0.0.1:9",
    }
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, tmp_path], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
