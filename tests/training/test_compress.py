"""Models made smaller after their training, as small as asked for or as their loss allows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fishpal.common.errors import FishpalWarning, ParamsError
from fishpal.common.kinds import ModuleKind
from fishpal.models.head import start_head
from fishpal.models.paired import one_sided
from fishpal.models.planned import plan_model
from fishpal.models.predict import losses, predict
from fishpal.models.trained import load, save
from fishpal.params.module_options import AdapterOptions, LoraOptions, ModuleOptions, PrefixOptions
from fishpal.params.options import HeadOptions, LearningRates, TrainOptions
from fishpal.records.plan import Plan, Reason
from fishpal.records.task import TokenisedTask
from fishpal.training.compress import last_quarter
from fishpal.training.starts import train_plan
from tests.conftest import random_examples, task_facts
from tests.training.test_training import learnable

K = ModuleKind
OPTIONS = TrainOptions(updates=24, batch_size=8, device="cpu", precision="float32")
SIZES = ModuleOptions(
    prefix=PrefixOptions(length=3),
    adapter=AdapterOptions(bottleneck=16),
    lora=LoraOptions(rank=8),
)
RATES = LearningRates(adapter=0.02, lora=0.02, prefix=0.05, head=0.05)


def task_of(examples, classes=2):
    return TokenisedTask(task_facts(classes), examples[:48], examples[48:])


def plan_of(encoder, *layers, **asked):
    return Plan(
        "toy", "small", encoder.facts, layers, Reason("uniform"), modules=SIZES,
        learning_rate=RATES, **asked,
    )  # fmt: skip


def trained(encoder, plan, task, options=OPTIONS):
    def start(head):
        return plan_model(encoder, start_head(encoder, task, head), plan, 0, options.train_head)

    return train_plan(start, plan, task, options, 0, HeadOptions())


def losses_of(model, task):
    labels = [example.label for example in task.selection]
    return losses(predict(model, task.selection, task.facts), labels)


@pytest.mark.parametrize("kind", [K.ADAPTER, K.LORA])
@pytest.mark.parametrize("share", [0.5, 0.25])
def test_a_share_is_what_stays_and_what_a_folder_holds(tiny_encoder, tmp_path, kind, share):
    task = task_of(learnable(96))
    plan = plan_of(tiny_encoder(), kind, kind, None, compress=share)
    whole, _, first = trained(tiny_encoder(), plan.whole(), task)
    model, found, training = trained(tiny_encoder(), plan, task)
    kept = [sum(m.kept_parameters for m in each.candidates()) for each in (whole, model)]
    assert found.kept == kept[1] <= share * kept[0] and found.compress is None
    assert model.parameter_counts().trainable == whole.parameter_counts().trainable
    assert training.curve == first.curve, "the curve is of the whole modules"
    assert losses_of(model, task).mean() < 0.5 * first.curve[0].selection_loss
    save(model, found, tmp_path / "small", task=task.facts, seed=0, best=1)
    again = load(tiny_encoder(), tmp_path / "small")
    logits = [predict(each, task.selection, task.facts) for each in (model, again)]
    assert np.array_equal(*logits)


def test_the_same_twice(tiny_encoder):
    task = task_of(learnable(96))
    plan = plan_of(tiny_encoder(), K.LORA, K.ADAPTER, None, compress=0.5)
    logits = [
        predict(trained(tiny_encoder(), plan, task)[0], task.selection, task.facts)
        for _ in range(2)
    ]
    assert np.array_equal(*logits)


def shares(encoder, task, margin):
    """What a margin leaves of a trained model's parameters, and both models."""
    plan = plan_of(encoder(), K.ADAPTER, K.LORA, None, margin=margin)
    whole, own, _ = trained(encoder(), plan.whole(), task)
    model, found, _ = trained(encoder(), plan, task)
    kept = sum(m.kept_parameters for m in model.candidates())
    assert found.kept == kept
    return kept / sum(m.kept_parameters for m in whole.candidates()), whole, model


def test_a_margin_goes_on_while_the_loss_is_shown_to_be_close(tiny_encoder):
    task = task_of(learnable(96))
    share, whole, model = shares(tiny_encoder, task, 0.05)
    more = losses_of(model, task) - losses_of(whole, task)
    assert share < 0.5 and more.mean() + one_sided(more) < 0.05


def test_a_margin_leaves_a_model_that_loses_as_it_is(tiny_encoder):
    task = task_of(random_examples(96))
    share, whole, model = shares(tiny_encoder, task, 1e-9)
    assert share == 1.0
    assert np.array_equal(*(predict(m, task.selection, task.facts) for m in (whole, model)))
    assert not model.training


def test_a_margin_ends_where_nothing_can_be_smaller(tiny_encoder):
    task = task_of(learnable(96))
    share, _, model = shares(tiny_encoder, task, 1e6)
    adapter, lora = model.candidates()
    assert len(adapter.down) == 1 and len(lora.query_a) == 1 and share < 0.2


@pytest.mark.parametrize(("more", "halved"), [(-1e-6, True), (1e-6, False)])
def test_a_margin_is_what_the_intervals_end_stays_below(tiny_encoder, monkeypatch, more, halved):
    end = 0.05 + more
    monkeypatch.setattr("fishpal.training.compress.one_sided", lambda d: end - float(d.mean()))
    share, *_ = shares(tiny_encoder, task_of(learnable(96)), 0.05)
    assert (share < 0.2) == halved and (share == 1.0) != halved


def test_the_first_halving_that_loses_is_the_last(tiny_encoder, monkeypatch):
    """A later one that happens to do well is not looked at."""
    task, sizes = task_of(learnable(96)), []

    def losing(more):
        sizes.append(len(sizes))
        return float("inf") if len(sizes) == 2 else -float(more.mean()) - 1.0

    monkeypatch.setattr("fishpal.training.compress.one_sided", losing)
    share, *_ = shares(tiny_encoder, task, 0.01)
    assert sizes == [0, 1] and 0.3 < share <= 0.5


def test_other_kinds_and_sizes_of_their_own_stay(tiny_encoder):
    task = task_of(learnable(96))
    plan = plan_of(tiny_encoder(), "adapter-6", K.PREFIX, f"{K.LORA}+{K.BIAS}", compress=0.25)
    with pytest.warns(FishpalWarning, match="other modules, and biases, cannot be made smaller"):
        model, found, _ = trained(tiny_encoder(), plan, task)
    adapter, prefix, lora, bias = model.candidates()
    assert len(adapter.down) == 6 and len(prefix.key) == 3 and len(lora.query_a) == 2
    assert found.layers == plan.layers and found.modules.lora.rank == 2
    assert found.kept == sum(module.kept_parameters for module in model.candidates())


def test_nothing_to_compress_is_said(tiny_encoder):
    task = task_of(learnable(96))
    plan = plan_of(tiny_encoder(), K.PREFIX, None, None, compress=0.25)
    with pytest.warns(FishpalWarning, match="small has no modules that can be compressed"):
        model, found, _ = trained(tiny_encoder(), plan, task)
    assert found == plan.whole()
    whole = trained(tiny_encoder(), plan.whole(), task)[0]
    assert np.array_equal(*(predict(m, task.selection, task.facts) for m in (whole, model)))


def test_a_share_below_the_least_is_said(tiny_encoder):
    plan = plan_of(tiny_encoder(), K.LORA, None, None, compress=0.01)
    with pytest.warns(FishpalWarning, match=r"to 0.12 of its parameters \(asked for 0.01\)"):
        trained(tiny_encoder(), plan, task_of(learnable(96)))


def test_a_share_that_takes_nothing_away_is_said_too(tiny_encoder):
    task = task_of(learnable(96))
    plan = plan_of(tiny_encoder(), K.ADAPTER, None, None, compress=0.5)
    plan = replace(plan, modules=replace(SIZES, adapter=AdapterOptions(bottleneck=1)))
    with pytest.warns(FishpalWarning, match=r"to 1 of its parameters \(asked for 0.5\)"):
        model, found, _ = trained(tiny_encoder(), plan, task)
    whole, *_ = trained(tiny_encoder(), plan.whole(), task)
    assert np.array_equal(*(predict(m, task.selection, task.facts) for m in (whole, model)))
    assert found.modules == plan.modules


def test_a_loss_that_rises_for_certain_is_said(tiny_encoder, monkeypatch):
    monkeypatch.setattr("fishpal.training.compress.one_sided", lambda more: -1e6)
    plan = plan_of(tiny_encoder(), K.LORA, None, None, compress=0.5)
    with pytest.warns(FishpalWarning, match="to 0.5 of its parameters, the selection loss is"):
        trained(tiny_encoder(), plan, task_of(learnable(96)))


def test_a_regression_and_a_frozen_head(tiny_encoder):
    examples = random_examples(96, classes=1)
    words = [replace(e, label=float(np.mean(e.input_ids)) / 20 - 1) for e in examples]
    plan = plan_of(tiny_encoder(), K.ADAPTER, None, None, compress=0.25)
    model, *_ = trained(tiny_encoder(), plan, task_of(words, classes=1))
    assert np.isfinite(losses_of(model, task_of(words, classes=1))).all()
    encoder, task = tiny_encoder(), task_of(learnable(96))
    head = start_head(encoder, task, HeadOptions())
    start = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    model, *_ = trained(encoder, plan, task, replace(OPTIONS, train_head=False))
    for name, tensor in model.head.state_dict().items():
        assert torch.equal(tensor, start[name]), "no calibration reaches it either"


def test_the_last_quarter_is_that_of_a_rate_that_falls_linearly(tiny_encoder):
    plan = replace(plan_of(tiny_encoder(), "lora-3", K.ADAPTER, None), rates={"lora-3": 0.4})
    task = task_of(learnable(96))
    found = last_quarter(plan, task, OPTIONS)
    assert found.updates == 6 and found.rate("lora", 0) == pytest.approx(0.1)
    assert found.rate("adapter", 1) == pytest.approx(RATES.adapter / 4)
    assert found.rate("head") == pytest.approx(RATES.head / 4)
    assert last_quarter(replace(plan, updates=100), task, OPTIONS).updates == 25
    by_epochs = replace(OPTIONS, updates="auto", epochs=4)
    assert last_quarter(plan, task, by_epochs).updates == 6  # 4 epochs of 6 batches


def test_bfloat16_has_its_passes_in_it(tiny_encoder):
    task = task_of(learnable(96))
    plan = plan_of(tiny_encoder(), K.ADAPTER, K.LORA, None, compress=0.5)
    low = replace(OPTIONS, precision="bfloat16")
    model, found, training = trained(tiny_encoder(), plan, task, low)
    assert training.precision == "bfloat16"
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert losses_of(model, task).mean() < 0.5


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, float("nan"), "half", True])
def test_no_share(tiny_encoder, share):
    with pytest.raises(ParamsError, match="compress is .*; allowed: a number"):
        plan_of(tiny_encoder(), K.LORA, None, None, compress=share)
