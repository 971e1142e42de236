"""The pilot: when it stops, what it drops, what it costs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from fishpal.common.errors import PlanError, TrainingError
from fishpal.common.kinds import ModuleKind
from fishpal.models.head import start_head
from fishpal.models.planned import plan_model
from fishpal.params.options import HeadOptions, LearningRates, TrainOptions
from fishpal.records.pilot import Pilot
from fishpal.records.plan import Plan, Reason
from fishpal.records.task import TokenisedTask
from fishpal.training.pilot import COST, FLAT, LEARNT, _looks, constant_loss, run_pilot
from tests.conftest import random_examples, task_facts
from tests.modules.test_modules import SMALL
from tests.training.test_training import learnable

KINDS = (ModuleKind.PREFIX, ModuleKind.ADAPTER, ModuleKind.LORA)
OPTIONS = TrainOptions(batch_size=8, device="cpu", max_updates=64)
RATES = LearningRates(prefix=1e-2, adapter=1e-2, lora=1e-2, head=1e-2)


def pilot(tiny_encoder, options=OPTIONS, examples=None, rates=RATES, **named) -> Pilot:
    fit = examples or learnable(40)
    task = TokenisedTask(task_facts(), fit, learnable(16, seed=1))
    facts = tiny_encoder().facts
    plans = [
        Plan("toy", "pilot", facts, (kind,) * facts.layers, Reason("uniform"),
             modules=SMALL, learning_rate=rates)
        for kind in KINDS
    ]  # fmt: skip

    def start(plan):
        encoder = tiny_encoder()
        return plan_model(encoder, start_head(encoder, task, HeadOptions()), plan, 0)

    return run_pilot(start, plans, task, options, progress=False, **named)


def test_the_last_arm_goes_on_until_it_is_flat(tiny_encoder):
    found = pilot(tiny_encoder, replace(OPTIONS, max_updates=512))
    longest = max(found.arms, key=lambda arm: arm.updates)
    assert found.source == "pilot" and longest.updates < 512
    best = min(longest.curve, key=lambda point: point.selection_loss).update
    assert found.updates == min(longest.updates, 2 * best)
    assert longest.best < (1 - LEARNT) * found.constant_loss
    early = [p.selection_loss for p in longest.curve if p.update <= longest.updates // 2]
    assert min(early) - longest.best < FLAT * found.constant_loss, "a doubling no longer pays"
    assert sorted(a.updates for a in found.arms)[-2] < longest.updates, "others were dropped"
    assert found.best_kind() == min(found.arms, key=lambda arm: arm.best).kind
    assert [arm.rate for arm in found.arms] == [1e-2] * 3


def test_what_is_dropped_was_the_worst_then(tiny_encoder):
    found = pilot(tiny_encoder, replace(OPTIONS, max_updates=512))
    by_length = sorted(found.arms, key=lambda arm: arm.updates)
    for dropped, *kept in (by_length, by_length[1:]):
        for arm in kept:
            seen = [p.selection_loss for p in arm.curve if p.update <= dropped.updates]
            assert min(seen) <= dropped.best


def test_noise_is_trained_as_long_as_allowed_and_no_more(tiny_encoder):
    """Labels that nothing tells: nobody learns, and the cost stays bounded."""
    options = replace(OPTIONS, max_updates=48)
    still = LearningRates(prefix=1e-9, adapter=1e-9, lora=1e-9, head=1e-9)
    found = pilot(tiny_encoder, options, random_examples(40), still)
    assert found.updates == 48
    assert sum(arm.updates for arm in found.arms) <= COST * 48


def test_options_that_say_the_length_need_no_arms(tiny_encoder):
    none = replace(OPTIONS, pilot=False)
    assert pilot(tiny_encoder, replace(none, updates=7)) == Pilot(
        7, "updates", pilot(tiny_encoder, replace(none, epochs=1)).constant_loss
    )
    assert pilot(tiny_encoder, replace(none, epochs=3)).updates == 3 * math.ceil(40 / 8)
    raced = pilot(tiny_encoder, replace(OPTIONS, updates=8))
    assert (raced.updates, raced.source, len(raced.arms)) == (8, "updates", 3)
    with pytest.raises(PlanError, match="rule race: the pilot had no arms"):
        Pilot(7, "updates", 0.7).best_kind()


def test_the_same_pilot_twice(tiny_encoder, tmp_path):
    one, two = pilot(tiny_encoder), pilot(tiny_encoder)
    assert one == two
    one.save(tmp_path / "pilot.json")
    assert Pilot.load(tmp_path / "pilot.json") == one


def test_an_arm_that_diverges_is_out(tiny_encoder):
    wild = replace(OPTIONS, weight_decay=1e30)  # beyond float32 in one update
    with pytest.raises(TrainingError, match="every arm of the pilot diverged by update"):
        pilot(tiny_encoder, wild)


@pytest.mark.parametrize("longest", [1, 2, 3, 8, 31, 48, 64, 500, 512, 1000])
def test_looks_rise_to_the_end(longest):
    looks = list(_looks(longest))
    assert looks == sorted(set(looks)) and looks[0] >= 1 and looks[-1] == longest
    assert all(later <= 1.5 * sooner + 1 for sooner, later in zip(looks, looks[1:], strict=False))


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_constant_loss_is_that_of_the_fit_parts_shares(classes):
    fit, selection = random_examples(60, classes), random_examples(30, classes, seed=1)
    found = constant_loss(TokenisedTask(task_facts(classes), fit, selection))
    labels = [example.label for example in selection]
    if classes == 1:
        assert found == pytest.approx(sum(label**2 / 2 for label in labels) / len(labels))
    else:
        shares = [(sum(e.label == c for e in fit) + 1) / (60 + classes) for c in range(classes)]
        assert found == pytest.approx(-np.mean([math.log(shares[label]) for label in labels]))
