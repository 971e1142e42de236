"""The pilot: when it stops, what it drops, what it costs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from fishpal.common.errors import FishpalWarning, PlanError, TrainingError
from fishpal.common.kinds import ModuleKind
from fishpal.models.batching import endless_batches
from fishpal.models.calibration import calibrate
from fishpal.models.head import start_head
from fishpal.models.planned import plan_model
from fishpal.models.predict import predict
from fishpal.params.options import HeadOptions, LearningRates, TrainOptions
from fishpal.params.race_options import RaceOptions
from fishpal.records.examples import lengths
from fishpal.records.pilot import LEARNT, Pilot
from fishpal.records.plan import Plan, Reason
from fishpal.records.task import TokenisedTask
from fishpal.training.looks import FIRST_LOOK, doubling, look_updates
from fishpal.training.pilot import (
    COST,
    FIRST_DROP,
    FLAT,
    SEED,
    constant_loss,
    run_pilot,
)
from fishpal.training.run import TrainingRun
from fishpal.training.train import start_accelerator, train
from tests.conftest import random_examples, task_facts
from tests.modules.test_modules import SMALL
from tests.training.test_training import learnable

KINDS = (ModuleKind.PREFIX, ModuleKind.ADAPTER, ModuleKind.LORA)
OPTIONS = TrainOptions(batch_size=8, device="cpu", max_updates=64)
RATES = LearningRates(prefix=1e-2, adapter=1e-2, lora=1e-2, head=1e-2)


def pilot(tiny_encoder, *given, **named) -> Pilot:
    """What a pilot of learnable examples finds."""
    return raced(tiny_encoder, *given, **named)[0].pilot


def raced(
    tiny_encoder,
    options=OPTIONS,
    examples=None,
    rates=RATES,
    factors=(1.0,),
    modules=SMALL,
    selection=None,
    more=(),
    kinds=KINDS,
    **named,
):
    """Such a pilot with its last arm, how to start a model of a plan, and the task."""
    fit = examples or learnable(40)
    task = TokenisedTask(task_facts(), fit, selection or learnable(16, seed=1))
    facts = tiny_encoder().facts
    plans = [
        Plan("toy", "pilot", facts, (kind,) * facts.layers, Reason("uniform"),
             modules=modules,
             learning_rate=replace(rates, **{kind: factor * getattr(rates, kind)}))
        for kind in kinds
        for factor in factors
    ]  # fmt: skip

    def start(plan):
        encoder = tiny_encoder()
        return plan_model(encoder, start_head(encoder, task, HeadOptions()), plan, 0)

    found = run_pilot(start, [*plans, *more], task, options, progress=False, **named)
    return found, start, task


def test_the_last_arm_goes_on_until_it_is_flat(tiny_encoder):
    found = pilot(tiny_encoder, replace(OPTIONS, max_updates=512))
    longest = max(found.arms, key=lambda arm: arm.updates)
    assert found.source == "pilot" and longest.updates < 512 and found.flat
    best = min(longest.curve, key=lambda point: point.pick_loss).update
    assert found.updates == min(longest.updates, 2 * best)
    assert longest.best < (1 - LEARNT) * found.constant_loss
    early = [p.pick_loss for p in longest.curve if p.update <= longest.updates // 2]
    assert min(early) - longest.best < FLAT * found.constant_loss, "a doubling no longer pays"
    assert sorted(a.updates for a in found.arms)[-2] < longest.updates, "others were dropped"
    assert found.winner().kind == min(found.arms, key=lambda arm: arm.best).kind
    assert [arm.rate for arm in found.arms] == [1e-2] * 3


def test_what_is_dropped_was_the_worst_then(tiny_encoder):
    found = pilot(tiny_encoder, replace(OPTIONS, max_updates=512))
    by_length = sorted(found.arms, key=lambda arm: arm.updates)
    for dropped, *kept in (by_length, by_length[1:]):
        for arm in kept:
            seen = [p.pick_loss for p in arm.curve if p.update <= dropped.updates]
            assert min(seen) <= dropped.best


def test_an_arm_that_collapses_goes_on_at_a_third_of_its_rate(tiny_encoder):
    high = replace(RATES, adapter=1.0)
    with pytest.warns(FishpalWarning, match="pilot's adapter at 1: .* on from update 0 at a third"):
        found = pilot(tiny_encoder, replace(OPTIONS, max_updates=512), rates=high)
    arm = next(arm for arm in found.arms if arm.kind == "adapter")
    assert arm.curve[1].collapsed
    times = sum(point.collapsed for point in arm.curve[:-1])  # after the last it did not go on
    assert arm.rate == pytest.approx(3.0**-times) == pytest.approx(arm.factor, rel=1e-5)
    assert arm.best == min(point.pick_loss for point in arm.curve if not point.collapsed)
    lost = pilot(tiny_encoder, replace(OPTIONS, max_updates=64, recover=False), rates=high)
    assert (lost.arms[1].kind, lost.arms[1].rate, lost.arms[1].factor) == ("adapter", 1.0, 1.0)


def test_noise_is_trained_as_long_as_allowed_and_no_more(tiny_encoder):
    """Labels that nothing tells: nobody learns, and the cost stays bounded."""
    options = replace(OPTIONS, max_updates=48)
    still = LearningRates(prefix=1e-9, adapter=1e-9, lora=1e-9, head=1e-9)
    noise = random_examples(200, seed=2)
    found = pilot(tiny_encoder, options, random_examples(40), still, selection=noise)
    assert found.updates == 48 and not found.flat
    assert sum(arm.updates for arm in found.arms) <= COST * 48


def test_a_lucky_look_shortens_nothing_where_nothing_was_learnt(tiny_encoder):
    options, noise = replace(OPTIONS, max_updates=48), random_examples(200, seed=2)
    found = pilot(tiny_encoder, options, random_examples(40), selection=noise)
    last = max(found.arms, key=lambda arm: arm.updates)
    luckiest = min(last.curve, key=lambda point: point.pick_loss)
    assert last.updates == 48 and 2 * luckiest.update < 48, "else this tests nothing"
    assert luckiest.pick_loss > (1 - LEARNT) * found.constant_loss
    assert found.updates == 48 and not found.flat


def test_options_that_say_the_length_need_no_arms(tiny_encoder):
    none = replace(OPTIONS, pilot=False)
    assert pilot(tiny_encoder, replace(none, updates=7)) == Pilot(
        7, "updates", pilot(tiny_encoder, replace(none, epochs=1)).constant_loss
    )
    assert pilot(tiny_encoder, replace(none, epochs=3)).updates == 3 * math.ceil(40 / 8)
    raced = pilot(tiny_encoder, replace(OPTIONS, updates=8))
    assert (raced.updates, raced.source, len(raced.arms)) == (8, "updates", 3)
    with pytest.raises(PlanError, match="rule race: the pilot had no arms"):
        Pilot(7, "updates", 0.7).winner()


def test_the_same_pilot_twice(tiny_encoder, tmp_path):
    one, two = pilot(tiny_encoder), pilot(tiny_encoder)
    assert one == two
    one.save(tmp_path / "pilot.json")
    assert Pilot.load(tmp_path / "pilot.json") == one


def test_an_arm_that_diverges_is_out(tiny_encoder):
    wild = replace(OPTIONS, weight_decay=1e30)  # beyond float32 in one update
    with pytest.raises(TrainingError, match="every arm of the pilot diverged by update"):
        pilot(tiny_encoder, wild)


def test_every_arm_is_trained_and_recorded_however_many(tiny_encoder):
    factors = (1, 3, 0.33)
    for longest in (2, 64):
        found = pilot(tiny_encoder, replace(OPTIONS, max_updates=longest), factors=factors)
        rates = sorted((arm.kind, round(arm.rate, 4)) for arm in found.arms)
        assert rates == sorted((kind, round(1e-2 * f, 4)) for kind in KINDS for f in factors)
        assert min(arm.updates for arm in found.arms) >= 1
        most = max(COST * longest, longest + len(found.arms))
        assert sum(arm.updates for arm in found.arms) <= most


@pytest.mark.parametrize("longest", [1, 2, 3, 8, 31, 48, 64, 500, 512, 1000])
def test_looks_rise_to_the_end(longest):
    looks = list(doubling(longest, longest // 4))
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


def test_a_kind_races_at_several_rates_until_the_first_look_at_all(tiny_encoder):
    options = replace(OPTIONS, max_updates=256, race=RaceOptions(rates=(0.1, 1.0, 3.0)))
    found = pilot(tiny_encoder, options, factors=(1.0, 0.1, 3.0))
    for kind in KINDS:
        arms = [arm for arm in found.arms if arm.kind == kind]
        assert [arm.factor for arm in arms] == [1.0, 0.1, 3.0]
        assert [arm.rate for arm in arms] == pytest.approx([1e-2, 1e-3, 3e-2])
        stayed = [arm for arm in arms if arm.updates > FIRST_LOOK]
        assert len(stayed) <= 1
        for arm in stayed:
            seen = [[p.pick_loss for p in a.curve if p.update <= FIRST_LOOK] for a in arms]
            assert min(map(min, seen)) == min(p.pick_loss for p in arm.curve[: len(seen[0])])


def test_a_mix_races_by_its_criterions_name(tiny_encoder):
    facts = tiny_encoder().facts
    layers = (ModuleKind.ADAPTER, *[ModuleKind.LORA] * (facts.layers - 1))
    mix = Plan("toy", "pilot", facts, layers, Reason("criterion", "snr"), modules=SMALL,
               learning_rate=RATES)  # fmt: skip
    found = pilot(tiny_encoder, replace(OPTIONS, updates=16), more=(mix,))
    assert [(arm.kind, arm.layers) for arm in found.arms[-2:]] == [("lora", None), ("snr", layers)]
    assert found.arms[-1].factor == 1 and found.arms[-1].updates > 0


def calm(tiny_encoder):
    """Encoders without dropout."""

    def make():
        encoder = tiny_encoder()
        for module in encoder.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        return encoder

    return make


def weighed(steps):
    """The sum of all steps' weights by the closed form of polynomial decay, η = 3."""
    total, eta = len(steps), 3
    share = [(eta + 1) / (t + eta) for t in range(1, total + 1)]
    factors = [share[t] * math.prod(1 - s for s in share[t + 1 :]) for t in range(total)]
    assert sum(factors) == pytest.approx(1) and (total < 3 or factors[-1] > factors[0])
    return [
        sum(f * step[i] for f, step in zip(factors, steps, strict=True))
        for i in range(len(steps[0]))
    ]


def test_looks_are_at_the_average_of_an_arms_weights(tiny_encoder):
    """Against a training by hand, without dropout, whose draws would be another's."""
    tiny_encoder = calm(tiny_encoder)
    selection = learnable(40, seed=1)
    found = pilot(tiny_encoder, replace(OPTIONS, max_updates=512), selection=selection)
    task = TokenisedTask(task_facts(), learnable(40), selection)
    for arm in found.arms:
        looks = [point.update for point in arm.curve]
        expected = by_hand(tiny_encoder, task, arm.kind, looks).mean()
        assert arm.best == pytest.approx(expected, abs=1e-5), arm.kind


def by_hand(tiny_encoder, task, kind, looks):
    """−log p of each selection example at the best look of one arm."""
    encoder = tiny_encoder()
    plan = Plan("toy", "pilot", encoder.facts, (kind,) * encoder.facts.layers, Reason("uniform"),
                modules=SMALL, learning_rate=RATES)  # fmt: skip
    constant = replace(OPTIONS, schedule="constant")
    accelerator = start_accelerator(constant, 0)
    model = plan_model(encoder, start_head(encoder, task, HeadOptions()), plan, 0)
    run = TrainingRun(model, plan, task, constant, accelerator, FIRST_DROP)
    batches = endless_batches(lengths(task.fit), OPTIONS.batch_size, np.random.default_rng(0))
    run.evaluate(0, 0.0)
    moved, steps = [p for p in model.parameters() if p.requires_grad], []
    losses, found = [math.inf], None
    for update in range(1, looks[-1] + 1):
        run.step([task.fit[i] for i in next(batches)])
        steps.append([p.detach().double().clone() for p in moved])
        if update in looks:
            with torch.no_grad():
                for p, mean in zip(moved, weighed(steps), strict=True):
                    p.copy_(mean)
                logits = predict(model, task.selection, task.facts)
                for p, own in zip(moved, steps[-1], strict=True):
                    p.copy_(own)
            labels = [example.label for example in task.selection]
            now = calibrate(logits, labels)
            if now.loss < min(losses):
                found = now.apply(logits)
            losses.append(now.loss)
    logits = found
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return -log_p[np.arange(len(logits)), [example.label for example in task.selection]]


DROPPING = replace(SMALL, lora=replace(SMALL.lora, dropout=0.3))


@pytest.mark.parametrize("dropout", [False, True])
def test_an_averaged_training_is_the_pilots_last_arm(tiny_encoder, dropout):
    """What trains beside it, and draws random numbers, too, changes nothing."""
    options = replace(OPTIONS, schedule="averaged", max_updates=256, encoder_dropout=dropout)
    modules = DROPPING if dropout else SMALL
    found, start, task = raced(tiny_encoder, options, modules=modules, examples=learnable(64))
    pilot, winner = found.pilot, found.pilot.winner()
    assert pilot.averaged and pilot.updates == winner.updates and len(pilot.arms) == len(KINDS)
    plan = replace(found.last.plan, method="fishpal", updates=pilot.updates)
    assert plan.layers[0] == winner.kind
    model, training = found.trained(plan)
    alone = start(plan)
    again = train(alone, plan, task, options, SEED, progress=False)
    assert training == again and [p.update for p in again.curve[1:]] == sorted(
        look_updates(pilot.updates, 8, options)
    )
    assert training.best_loss == winner.best
    own, other = model.state_dict(), alone.state_dict()
    assert own.keys() == other.keys()
    assert all(torch.equal(own[name], other[name]) for name in own)
    first, trained = start(plan).state_dict(), [n for n, p in alone.named_parameters()
                                                if p.requires_grad]  # fmt: skip
    assert any(not torch.equal(first[name], own[name]) for name in trained)


def test_only_a_whole_training_of_the_plan_is_taken(tiny_encoder):
    options = replace(OPTIONS, schedule="averaged", max_updates=128)
    found, _, _ = raced(tiny_encoder, options)
    plan = replace(found.last.plan, updates=found.pilot.updates)
    assert found.trained(plan) is not None
    for other in (
        replace(plan, updates=plan.updates - 1),
        replace(plan, layers=("prefix" if plan.layers[0] != "prefix" else "lora",) * 3),
        replace(plan, learning_rate=replace(plan.learning_rate, head=0.02)),
        replace(plan, modules=DROPPING),
    ):
        assert found.trained(other) is None
    found.last.run.warmup += 1  # of a longer race than its warm-up
    assert found.trained(plan) is None
    found.last.run.warmup -= 1
    assert found.trained(plan) is not None
    found.last.rate_share = 1 / 3  # it had collapsed
    assert found.trained(plan) is None
    for other in ({"evaluations_per_epoch": 1}, {"patience": 2}):  # its looks may be others
        found, _, _ = raced(tiny_encoder, replace(options, **other))
        assert found.trained(replace(found.last.plan, updates=found.pilot.updates)) is None
    plain, _, _ = raced(tiny_encoder)
    assert plain.trained(replace(plain.last.plan, updates=plain.pilot.updates)) is None


def test_arms_have_their_own_scale(tiny_encoder, monkeypatch):
    """Of float16, which the first one's overflow would lower for all; here on a CPU."""

    def scaled(options, seed):
        accelerator = start_accelerator(options, seed)
        accelerator.state._mixed_precision, accelerator.native_amp = "fp16", True
        accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**22)
        return accelerator

    monkeypatch.setattr("fishpal.training.pilot.start_accelerator", scaled)
    alone, beside = (
        raced(tiny_encoder, OPTIONS, learnable(64), kinds=kinds)[0].pilot.arms[-1]
        for kinds in (KINDS[2:], (KINDS[0], KINDS[2]))
    )
    shared = min(len(alone.curve), len(beside.curve))
    assert shared > 2 and alone.curve[:shared] == beside.curve[:shared]
