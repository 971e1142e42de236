"""The head alone is trained from its start and from a probe; the better one is kept."""

from dataclasses import replace

import pytest
import torch

from fishpal.common.kinds import HeadInit, ModuleKind
from fishpal.models.head import start_head
from fishpal.models.planned import plan_model
from fishpal.models.predict import predict
from fishpal.params.options import HeadOptions, LearningRates, TrainOptions
from fishpal.records.plan import Plan, Reason
from fishpal.records.task import TokenisedTask
from fishpal.training.starts import train_plan
from fishpal.training.train import train
from tests.conftest import random_examples, task_facts
from tests.training.test_training import learnable

OPTIONS = TrainOptions(updates=8, batch_size=8, device="cpu", precision="float32")
RANDOM, PROBE = HeadOptions(init=HeadInit.RANDOM), HeadOptions(init=HeadInit.PROBE)
SLOW, FAST = LearningRates(head=1e-6), LearningRates(head=0.3)


def plan_of(encoder, *layers, full=False, rates=SLOW):
    return Plan("toy", "head", encoder.facts, layers or (None,) * 3, Reason("none"), full=full,
                learning_rate=rates)  # fmt: skip


def task_of(examples):
    """Of selection rows that the fit part lacks."""
    return TokenisedTask(task_facts(), examples[:32], examples[32:])


@pytest.fixture
def starting(tiny_encoder):
    """A way to start a plan's model, and the starts of the head that were asked for."""
    encoder, seen = tiny_encoder(), []

    def start(task, plan, options=OPTIONS):
        def model(head):
            seen.append(head.init)
            first = start_head(encoder, task, head)
            return plan_model(encoder, first, plan, 0, options.train_head, task)

        return model

    return encoder, start, seen


def as_start_says(encoder):
    """Labels of selection rows that the random start knows, and of fit rows that are noise."""
    task = task_of(random_examples(64))
    start = plan_model(encoder, start_head(encoder, task, RANDOM), plan_of(encoder), 0)
    found = predict(start, task.selection, task.facts).argmax(axis=1).tolist()
    known = [replace(e, label=label) for e, label in zip(task.selection, found, strict=True)]
    return TokenisedTask(task.facts, task.fit, known)


@pytest.mark.parametrize(
    ("make", "better"),
    [(lambda _: task_of(learnable(64)), PROBE), (as_start_says, RANDOM)],
    ids=["where its rate is too low", "where its start is right"],
)
def test_the_better_start_is_kept(starting, make, better):
    encoder, start, _ = starting
    plan, task = plan_of(encoder), make(encoder)
    apart = {}
    for head in (RANDOM, PROBE):
        model = plan_model(encoder, start_head(encoder, task, head), plan, 0, True, task)
        apart[head.init] = model, train(model, plan, task, OPTIONS, 0, progress=False)
    model, trained, result = train_plan(start(task, plan), plan, task, OPTIONS, 0, RANDOM)
    other = RANDOM if better is PROBE else PROBE
    assert apart[better.init][1].best_loss < apart[other.init][1].best_loss
    assert result == apart[better.init][1] and trained == plan
    assert torch.equal(model.head.weight, apart[better.init][0].head.weight)
    assert model.head.facts.init == better.init


def test_both_trainings_start_alike_whatever_was_drawn_before(starting):
    encoder, start, _ = starting
    plan, task = plan_of(encoder, rates=FAST), task_of(learnable(64))
    first = train_plan(start(task, plan), plan, task, OPTIONS, 0, RANDOM)
    torch.rand(5)
    second = train_plan(start(task, plan), plan, task, OPTIONS, 0, RANDOM)
    assert first[2] == second[2] and torch.equal(first[0].head.weight, second[0].head.weight)


@pytest.mark.parametrize("which", ["modules", "full", "a probe", "a frozen head"])
def test_all_others_have_the_one_start_that_is_asked_for(starting, which):
    encoder, start, seen = starting
    lora = ModuleKind.LORA
    layers = (lora,) * 3 if which in ("modules", "a frozen head") else ()
    plan, task = plan_of(encoder, *layers, full=which == "full"), task_of(learnable(64))
    options = replace(OPTIONS, updates=1, train_head=which != "a frozen head")
    head = PROBE if which == "a probe" else RANDOM
    train_plan(start(task, plan, options), plan, task, options, 0, head)
    assert seen == [head.init]
