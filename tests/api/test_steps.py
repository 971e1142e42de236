"""What a step decides, and what it leaves as it found it."""

from __future__ import annotations

import random
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate import Accelerator

import fishpal
from tests.api.conftest import FAST, plan_of

SHORT = replace(FAST, epochs=None, updates=3)


def drawn():
    """The next random numbers of everything that has a state of its own."""
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def seeded():
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)


def test_a_callers_random_numbers_and_accelerator_stay(encoder, task):
    mine = Accelerator(cpu=True, mixed_precision="no")
    low = replace(SHORT, precision="bfloat16")  # another state than the caller's
    seeded()
    expected = drawn()
    for step in (
        lambda: fishpal.fit(encoder, task, plan_of(encoder), options=low),
        lambda: fishpal.measure(encoder, task, training=replace(FAST, epochs=None, max_updates=8)),
    ):
        seeded()
        step()
        assert drawn() == expected
        assert mine.mixed_precision == "no"


def test_a_length_that_options_fix_counts(encoder, task):
    def length(plan, options):
        return fishpal.fit(encoder, task, plan, options=options).training.curve[-1].update

    plan = replace(plan_of(encoder), updates=5)
    with pytest.warns(fishpal.FishpalWarning, match="ask for 3 updates, the plan for 5: trained f"):
        assert length(plan, SHORT) == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error", fishpal.FishpalWarning)
        assert length(plan, replace(SHORT, updates="auto")) == 5
        assert length(plan, replace(SHORT, updates=5)) == 5
        assert length(plan_of(encoder), SHORT) == 3


def test_a_seed_of_numpy_is_that_number(encoder, task):
    one, other = (
        fishpal.fit(encoder, task, plan_of(encoder), seed, SHORT) for seed in (1, np.int64(1))
    )
    texts = ["w1 w2", "w3"]
    np.testing.assert_array_equal(one.predict_proba(texts), other.predict_proba(texts))
