"""Scores from weights that all plans share, against plain loops."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from fishpal.common.kinds import ModuleKind
from fishpal.models.batching import collate
from fishpal.models.calibration import calibrate
from fishpal.models.classifier import Classifier, task_loss
from fishpal.models.head import start_head
from fishpal.models.planned import plan_model
from fishpal.models.predict import predict
from fishpal.params.options import HeadOptions, LearningRates, TrainOptions
from fishpal.records.plan import Plan, Reason
from fishpal.records.task import TokenisedTask
from fishpal.training.run import TrainingRun
from fishpal.training.train import start_accelerator
from studies.criteria.analysis.shared import NOTHING, ranked
from studies.criteria.analysis.table import Trained
from studies.criteria.trainings.inputs import Data
from studies.criteria.trainings.shared import Shared, keys_of, random_plans
from tests.conftest import random_examples, task_facts
from tests.modules.test_modules import SMALL

P, A, L = ModuleKind.PREFIX, ModuleKind.ADAPTER, ModuleKind.LORA


@pytest.fixture
def shared(tiny_encoder) -> Shared:
    encoder = tiny_encoder("bert", double=True)
    task = TokenisedTask(task_facts(3), random_examples(12, 3), random_examples(9, 3, seed=1))
    layers = ("prefix+adapter+lora",) * encoder.facts.layers
    plan = Plan("toy", "shared", encoder.facts, layers, Reason("uniform"), modules=SMALL,
                learning_rate=LearningRates(prefix=0.1, adapter=0.01, lora=0.1))  # fmt: skip
    model = plan_model(encoder, start_head(encoder, task, HeadOptions()), plan, 0, True, task)
    model.double()
    options = TrainOptions(updates=3, pilot=False, warmup=0.0, device="cpu")
    run = TrainingRun(model, plan, task, options, start_accelerator(options, 0), 3)
    for _ in range(3):
        run.step(task.fit)
    modules = {(each.layer, each.kind): each for each in model.candidates()}
    return Shared(run, Data(task, [], ""), modules)


def plain_loss(shared: Shared, keys) -> float:
    """Of a model made anew of these modules and the head."""
    shared.run.model.detach()
    model = Classifier(shared.run.model.source, shared.run.model.head)
    if keys:
        model.attach([module for key, module in shared.modules.items() if key in keys])
    task = shared.data.task
    found = calibrate(predict(model, task.selection, task.facts), [e.label for e in task.selection])
    model.detach()
    return found.loss


def test_a_plan_is_scored_with_its_own_candidates_alone(shared):
    for plan in ((None, None, None), (P, A, L), (None, A, None), (L, L, L)):
        keys = [(layer, kind) for layer, kind in enumerate(plan) if kind]
        assert keys_of(plan) == keys
        assert shared.loss(keys) == pytest.approx(plain_loss(shared, keys), rel=1e-6)
    assert len({round(loss, 9) for loss in shared.losses([(P, A, L), (L, A, P), (A, A, A)])}) == 3


def test_ablation_is_the_loss_without_less_the_loss_with_all(shared):
    found, every = shared.ablation(), list(shared.modules)
    for key in every[:4]:
        without = plain_loss(shared, [other for other in every if other != key])
        assert found[key] == pytest.approx(without - plain_loss(shared, every), abs=1e-6)


def test_saliency_equals_a_loop_over_examples(shared):
    found, every = shared.saliency(7, 3), list(shared.modules)
    shared.use(every)
    model, fit = shared.run.model.eval(), shared.data.task.fit[:7]
    fisher, taylor = dict.fromkeys(every, 0.0), dict.fromkeys(every, 0.0)
    for example in fit:
        batch = collate([example], 0)
        labels = batch.pop("labels")
        model.zero_grad()
        task_loss(model(**batch), labels).backward()
        for key, module in shared.modules.items():
            products = [p.grad * p.detach() for p in module.parameters()]
            fisher[key] += 0.5 * sum(float(each.square().sum()) for each in products) / len(fit)
            taylor[key] -= sum(float(each.sum()) for each in products) / len(fit)
    assert found["fisher"] == pytest.approx(fisher, rel=1e-5)
    assert found["taylor"] == pytest.approx({k: abs(v) for k, v in taylor.items()}, rel=1e-4)


def test_random_plans_draw_every_choice_alike():
    plans = list(islice(random_plans(0, 6), 500))
    drawn = [kind for plan in plans for kind in plan]
    for kind in (None, P, A, L):
        assert drawn.count(kind) / len(drawn) == pytest.approx(0.25, abs=0.03)
    assert plans == list(islice(random_plans(0, 6), 500)) != list(islice(random_plans(1, 6), 500))


def test_ranks_leave_out_what_was_not_scored():
    words = ("PP", "AA", "LL", "AA")
    loss = -np.array([[0.5, 0.5], [0.3, 0.3], [0.1, 0.1], [9.0, 9.0]])
    columns = [{"rule": "uniform"}] * 3 + [{"rule": "small"}]
    trained = Trained(words, columns, words, loss, loss, np.array([3, 2, 1, 0]), loss, loss)
    line = {"mode": "joint", "plans": ["AA", "PP", "LL"], "seconds": 20.0}
    lines = [line | {"scores": {"x": [2.0, 1.0, 3.0]}}, line | {"scores": {"x": [1.0, 2.0, 3.0]}}]
    found = ranked(trained, lines, training=10.0)
    assert found[NOTHING].spearman == pytest.approx(-1.0)
    own = found["x, all together"]
    assert own.spearman == pytest.approx(3**0.5 / 2)  # PP and AA are equal in the mean
    assert (own.regret, own.seeds, own.cost) == (0.0, pytest.approx(0.5), 2.0)
    assert found[NOTHING].regret == pytest.approx(0.4)
