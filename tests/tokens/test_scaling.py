"""Labels of a regression that rule what is learnt are named, and no others."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from fishpal.common.errors import FishpalWarning
from fishpal.records.facts import Scale
from fishpal.tokens.scaling import far_label

RNG = np.random.default_rng(0)
STARS = RNG.integers(1, 6, 1000).astype(float)


def found(labels, usual=None):
    usual = labels if usual is None else usual
    return far_label(np.asarray(labels), Scale.of(usual), "demo", "fit", usual)


def spoiled(labels, rows, value):
    return np.where(np.arange(len(labels)) < rows, value, labels)


@pytest.mark.parametrize(("rows", "value"), [(1, 1e9), (1, 80.0)])
def test_one_stray_label_of_a_hundred(rows, value):
    """It cannot be 10 standard deviations from a mean that it is part of."""
    labels = spoiled(STARS[:100], rows, value)
    assert abs(labels - labels.mean()).max() < 10 * labels.std()
    with pytest.warns(FishpalWarning, match=r"label \S+ of fit \(1 of 100 rows\) is far from fit"):
        assert found(labels) == value


@pytest.mark.parametrize("rows", [11, 20, 90])
def test_a_value_that_stands_for_none(rows):
    labels = spoiled(STARS, rows, -999.0)
    with pytest.warns(FishpalWarning, match=rf"-999 of fit \({rows} of 1000 .* rules the loss"):
        assert found(labels) == -999.0
    with pytest.warns(FishpalWarning, match="-999"):
        assert found(spoiled(STARS[:300], 2, -999.0), STARS) == -999.0


@pytest.mark.parametrize(
    "labels",
    [
        STARS,
        RNG.normal(3, 2, 1000),
        RNG.exponential(1, 1000),
        np.where(RNG.random(1000) < 0.7, 0.0, RNG.uniform(0, 100, 1000)),  # mostly nothing
        np.where(RNG.random(1000) < 0.95, 0.0, 1.0),  # no quartiles apart
        RNG.poisson(0.5, 1000).astype(float),
        np.array([0.0, 1.0]),
    ],
)
def test_labels_as_they_usually_are(labels):
    with warnings.catch_warnings():
        warnings.simplefilter("error", FishpalWarning)
        assert found(labels) is None
