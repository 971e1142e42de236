"""What a step decides, and what it leaves as it found it."""

from __future__ import annotations

import random
import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate import Accelerator

import fishpal
from tests.api.conftest import FAST, plan_of

SHORT = replace(FAST, epochs=None, updates=3)


def test_a_pilot_that_does_not_run_warns_of_no_arms(encoder, task, recwarn):
    race = fishpal.RaceOptions(criteria=("depth", "kernel"))
    options = replace(FAST, pilot=False, race=race)
    assert not fishpal.measure(encoder, task, training=options).pilot.arms
    assert not [str(each.message) for each in recwarn if "criteria" in str(each.message)]


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


def test_rates_that_options_ask_for_beside_a_plan_are_warned_about(encoder, task):
    plan = plan_of(encoder)  # lora at 0.02, the head at 0.05

    def said(plan=plan, train_head=True, **rates):
        rates = fishpal.RateOptions(**rates)
        options = replace(SHORT, updates=1, learning_rate=rates, train_head=train_head)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always", fishpal.FishpalWarning)
            fishpal.fit(encoder, task, plan, options=options)
        found = [str(each.message) for each in seen if each.category is fishpal.FishpalWarning]
        return [text for text in found if "selection has 12 rows" not in text]

    end = ": trained at the plan's rates"
    assert said(lora=0.5) == [f"options ask for lora at 0.5 (plan: 0.02){end}"]
    both = f"options ask for lora at 0.5 (plan: 0.02), head at 0.1 (plan: 0.05){end}"
    assert said(lora=0.5, head=0.1) == [both]
    assert said() == said(lora=0.02, head=0.05) == said(adapter=0.5) == []
    assert said(head=0.1, train_head=False) == []
    full = replace(plan, layers=(None,) * 3, full=True)
    assert said(full, full=0.01) == [f"options ask for full at 0.01 (plan: 0.001){end}"]


@pytest.mark.parametrize("seed", [-1, 2**40, 2**32, 1.0, "1", True, None])
def test_a_seed_that_is_none_is_one_line(encoder, task, seed):
    words = re.escape(f"seed is {seed!r}; allowed: integers from 0 below 2**32")
    for step in (fishpal.fit, fishpal.start):
        with pytest.raises(fishpal.FishpalError, match=f"^{words}$"):
            step(encoder, task, plan_of(encoder), seed)


def test_a_seed_of_numpy_is_that_number(encoder, task):
    one, other = (
        fishpal.fit(encoder, task, plan_of(encoder), seed, SHORT) for seed in (1, np.int64(1))
    )
    texts = ["w1 w2", "w3"]
    np.testing.assert_array_equal(one.predict_proba(texts), other.predict_proba(texts))
