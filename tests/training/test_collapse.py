"""Trainings that collapse at too high a rate: seen, and led back."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from fishpal.common.errors import FishpalWarning
from fishpal.common.kinds import ModuleKind
from fishpal.models.batching import collate, endless_batches
from fishpal.models.head import start_head
from fishpal.models.planned import plan_model
from fishpal.models.predict import mean_loss, predict
from fishpal.params.options import HeadOptions, TrainOptions
from fishpal.records.examples import lengths
from fishpal.records.results import CurvePoint
from fishpal.records.task import TokenisedTask
from fishpal.training.checkpoint import Checkpoint
from fishpal.training.collapse import LITTLE, SHARE, Collapse, least_constant, spread
from fishpal.training.groups import parameter_groups
from fishpal.training.looks import look_updates
from fishpal.training.pick import stale
from fishpal.training.train import train
from tests.conftest import task_facts
from tests.training.test_resume import Fragile, Killed
from tests.training.test_training import RATES, learnable, plan_for

A = ModuleKind.ADAPTER
FIT, SELECTION = learnable(40), learnable(16, seed=1)
OPTIONS = TrainOptions(epochs=8, batch_size=4, device="cpu", pick="loss")
TOO_HIGH = 1.0


def run(tiny_encoder, rate, options=OPTIONS, fit=FIT, checkpoint=None):
    """The trained model, what happened, and the warnings."""
    encoder = tiny_encoder()
    plan = replace(plan_for(encoder, A, A, A), learning_rate=replace(RATES, adapter=rate))
    task = TokenisedTask(task_facts(), fit, SELECTION)
    head = start_head(encoder, TokenisedTask(task_facts(), FIT), HeadOptions())
    model = plan_model(encoder, head, plan, 0, options.train_head)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        result = train(model, plan, task, options, 0, checkpoint=checkpoint, progress=False)
    return model, result, [w for w in said if issubclass(w.category, FishpalWarning)]


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_the_spread_is_that_of_a_plain_loop(classes):
    logits = np.random.default_rng(0).normal(size=(7, classes)).astype(np.float32)
    centred = [
        [x - (sum(row) / classes if classes > 1 else 0) for x in row] for row in logits.tolist()
    ]
    found = 0.0
    for column in zip(*centred, strict=True):
        mean = sum(column) / 7
        found += math.sqrt(sum((x - mean) ** 2 for x in column) / 7) / classes
    assert spread(logits) == pytest.approx(found, rel=1e-5)
    if classes > 1:  # probabilities stay as they are
        shifted = logits + np.arange(7, dtype=np.float32)[:, None]
        assert spread(shifted) == pytest.approx(found, rel=1e-4)


def test_collapsed_is_what_is_dull_and_has_learnt_nothing():
    collapse, logits, labels = Collapse(), np.array([[0.0, 0.1], [0.1, 0.0]]), [0, 1]
    floor = math.log(2)
    assert not collapse.seen(logits, labels, floor), "the start itself"
    dull = 0.9 * LITTLE * logits
    assert collapse.seen(dull, labels, floor) and collapse.seen(dull + 5, labels, 0.96 * floor)
    assert not collapse.seen(dull, labels, 0.94 * floor), "it tells what it has to tell quietly"
    assert not collapse.seen(1.1 * LITTLE * logits, labels, floor), "it has just not learnt yet"


def test_the_least_constant_loss_is_that_of_the_best_of_many_answers():
    labels = [0, 0, 2, 1, 0, 2]
    answers = np.random.default_rng(0).dirichlet([3, 1, 2], 100_000)
    tried = min((-np.log(answers[:, labels])).mean(axis=1))
    assert (
        least_constant(labels, 3) == pytest.approx(tried, rel=1e-3)
        and least_constant(labels, 3) <= tried
    )
    values = [0.3, -1.2, 2.0, 0.4]
    tried = min(np.mean([0.5 * (x - v) ** 2 for v in values]) for x in np.linspace(-2, 2, 4001))
    assert least_constant(values, 1) == pytest.approx(tried, rel=1e-5)


def test_too_high_a_rate_collapses_and_is_led_back(tiny_encoder):
    floor = least_constant([e.label for e in SELECTION], 2)
    _, lost, said = run(tiny_encoder, TOO_HIGH, replace(OPTIONS, recover=False))
    losses = [point.pick_loss for point in lost.curve]
    assert min(losses[1:]) > 0.95 * floor and not said
    assert not any(point.collapsed for point in lost.curve)
    assert lost.best_loss == min(losses), "kept as ever"
    _, found, said = run(tiny_encoder, TOO_HIGH)
    times = sum(point.collapsed for point in found.curve)
    assert 1 <= times == len(said) and not found.curve[-1].collapsed
    assert "after 10 updates" in str(said[0].message)
    assert "on from update 0 at a third of its rates" in str(said[0].message)
    assert not any(point.kept for point in found.curve if point.collapsed)
    assert found.best_loss < 0.5 * floor


def test_a_regression_is_led_back(tiny_encoder):
    def numbers(examples):
        found = [replace(e, label=float(e.input_ids[0])) for e in examples]
        mean, sd = (f([e.label for e in found]) for f in (np.mean, np.std))
        return [replace(e, label=float((e.label - mean) / sd)) for e in found]

    fit, selection = numbers(FIT), numbers(SELECTION)
    ended = {}
    for recover in (False, True):
        encoder = tiny_encoder()
        plan = replace(plan_for(encoder, A, A, A), learning_rate=replace(RATES, adapter=TOO_HIGH))
        task = TokenisedTask(task_facts(1), fit, selection)
        model = plan_model(encoder, start_head(encoder, task, HeadOptions()), plan, 0, True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FishpalWarning)
            result = train(model, plan, task, replace(OPTIONS, recover=recover), 0, progress=False)
        ended[recover] = result
    assert ended[True].curve[1].collapsed
    assert ended[True].best_loss < 0.5 * ended[False].best_loss


def test_patience_counts_from_the_last_collapse():
    def curve(*looks):
        return [CurvePoint(n, n, None, 1.0, *look) for n, look in enumerate(looks)]

    start, lost = (0.7, True), (0.69, False, True)
    assert not stale(curve(start, lost), 1), "it goes on from the start"
    assert stale(curve(start, lost, (0.8, False)), 1)
    assert not stale(curve(start, lost, (0.8, False), (0.6, True)), 1)
    assert stale(curve(start, (0.5, True), (0.6, False), (0.6, False)), 2)
    assert not stale(curve(start, (0.5, True), (0.6, False)), 2)


def test_a_training_that_learns_is_left_alone(tiny_encoder):
    with_it, without = (run(tiny_encoder, 0.01, replace(OPTIONS, recover=r)) for r in (True, False))
    assert with_it[1] == without[1] and not with_it[2]
    pairs = zip(with_it[0].parameters(), without[0].parameters(), strict=True)
    assert all(torch.equal(one, two) for one, two in pairs)


def test_it_goes_on_as_a_plain_loop_does(tiny_encoder):
    """From the start's weights, a new AdamW, and the schedule of a third of the adapters' rate."""
    _, result, _ = run(tiny_encoder, TOO_HIGH)
    times = next(n for n, point in enumerate(result.curve[1:]) if not point.collapsed)
    encoder, total = tiny_encoder(), result.curve[-1].update
    begin, end = result.curve[times].update, result.curve[times + 1].update
    share = SHARE**times
    rates = replace(RATES, adapter=TOO_HIGH * share)
    plan = replace(plan_for(encoder, A, A, A), learning_rate=rates)
    head = start_head(encoder, TokenisedTask(task_facts(), FIT), HeadOptions())
    model = plan_model(encoder, head, plan, 0, True)
    optimizer = torch.optim.AdamW(parameter_groups(model, plan, OPTIONS.weight_decay))
    peaks = [group["lr"] for group in optimizer.param_groups]
    batches = endless_batches(lengths(FIT), 4, np.random.default_rng(0))
    warmup = math.ceil(OPTIONS.warmup * total)
    for update, rows in zip(range(end), batches, strict=False):
        if update < begin:
            continue
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * (total - update) / (total - warmup)
        batch = collate([FIT[i] for i in rows], task_facts().pad_id)
        labels = batch.pop("labels")
        model.train()
        encoder.model.eval()
        torch.nn.functional.cross_entropy(model(**batch), labels).backward()
        trained = [p for p in model.parameters() if p.requires_grad]
        torch.nn.utils.clip_grad_norm_(trained, OPTIONS.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
    found = mean_loss(predict(model, SELECTION, task_facts()), [e.label for e in SELECTION])
    assert found == pytest.approx(result.curve[times + 1].selection_loss, rel=1e-4)


def test_killed_after_it_was_led_back_it_ends_as_an_unbroken_one(tiny_encoder, tmp_path):
    unbroken = run(tiny_encoder, TOO_HIGH)
    assert unbroken[1].curve[1].collapsed
    checkpoint = Checkpoint(tmp_path / "state", "key", seconds=0)
    for updates in (10, 15):  # at the look that leads it back, and on its way from there
        with pytest.raises(Killed):
            run(tiny_encoder, TOO_HIGH, fit=Fragile(FIT, 4 * updates), checkpoint=checkpoint)
        again = run(tiny_encoder, TOO_HIGH, checkpoint=Checkpoint(tmp_path / "state", "key"))
        assert again[1] == unbroken[1]
        pairs = zip(again[0].parameters(), unbroken[0].parameters(), strict=True)
        assert all(torch.equal(one, two) for one, two in pairs)
        checkpoint.remove()


@pytest.mark.parametrize(
    ("total", "per_epoch", "wanted", "looks"),
    [
        (100, 200, "auto", [20, 40, 60, 80, 100]),
        (100, 200, 1, [100]),
        (100, 50, 2, [25, 50, 75, 100]),
        (60, 10, "auto", [10, 20, 30, 40, 50, 60]),
        (3, 10, "auto", [1, 2, 3]),
        (5, 2, 1e308, [1, 2, 3, 4, 5]),
    ],
)
def test_looks_are_even_and_by_default_at_least_five(total, per_epoch, wanted, looks):
    options = TrainOptions(evaluations_per_epoch=wanted)
    assert sorted(look_updates(total, per_epoch, options)) == looks
