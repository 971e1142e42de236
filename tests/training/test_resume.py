"""Training that was killed goes on, and ends as an unbroken one does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open

from fishpal.common.kinds import ModuleKind
from fishpal.models.head import start_head
from fishpal.models.planned import plan_model
from fishpal.params.module_options import AdapterOptions, LoraOptions, ModuleOptions
from fishpal.params.options import HeadOptions, LearningRates, TrainOptions
from fishpal.records.finished import result_key
from fishpal.records.plan import Plan, Reason
from fishpal.records.task import TokenisedTask
from fishpal.training.checkpoint import Checkpoint
from fishpal.training.pilot import run_pilot
from fishpal.training.train import train
from tests.conftest import random_examples, task_facts
from tests.training.test_training import learnable

P, A, L, *_ = ModuleKind
FIT, SELECTION = random_examples(24, seed=1), random_examples(12, seed=2)
# Dropout in modules (and in the encoder) draws random numbers at every update.
MODULES = ModuleOptions(adapter=AdapterOptions(4, dropout=0.2), lora=LoraOptions(2, dropout=0.2))
OPTIONS = TrainOptions(
    epochs=4, batch_size=8, evaluations_per_epoch=0.5, schedule="cosine", device="cpu"
)


class Killed(Exception):
    """Stands for what ends a training in the middle."""


class Fragile(Sequence):
    """The fit part, that ends the training when more than `count` examples have been read."""

    def __init__(self, examples, count):
        self.examples, self.left = examples, count

    def __len__(self):
        return len(self.examples)

    def __getitem__(self, index):
        self.left -= 1
        if self.left < 0:
            raise Killed
        return self.examples[index]

    def __iter__(self):  # lengths are taken, and rows checked, before anything is trained
        return iter(self.examples)


def run(
    tiny_encoder, checkpoint=None, fit=FIT, seed=0, options=OPTIONS, full=False, modules=MODULES
):
    """Trained weights by name, and what happened."""
    encoder = tiny_encoder()
    layers = (None,) * 3 if full else (P, A, L)
    plan = Plan("toy", "test", encoder.facts, layers, Reason("uniform"), full=full,
                modules=modules)  # fmt: skip
    head = start_head(encoder, TokenisedTask(task_facts(), FIT), HeadOptions())
    model = plan_model(encoder, head, plan, seed, options.train_head)
    task = TokenisedTask(task_facts(), fit, SELECTION)
    result = train(model, plan, task, options, seed, checkpoint=checkpoint, progress=False)
    return {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}, result


def same(one, two):
    assert one[1] == two[1]
    assert one[0].keys() == two[0].keys()
    assert all(torch.equal(tensor, two[0][name]) for name, tensor in one[0].items())


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("updates", [1, 5, 6, 11])  # within epochs, at an evaluation, at the end
def test_a_killed_training_ends_as_an_unbroken_one(tiny_encoder, tmp_path, updates, full):
    checkpoint = Checkpoint(tmp_path / "state", "key", seconds=0)
    with pytest.raises(Killed):
        run(tiny_encoder, checkpoint, Fragile(FIT, 8 * updates), full=full)
    tensors, state = checkpoint.load()
    assert state["update"] == updates
    torch.manual_seed(99)  # another process has other random numbers
    went_on = run(tiny_encoder, Checkpoint(tmp_path / "state", "key"), full=full)
    same(went_on, run(tiny_encoder, full=full))
    assert state["best_update"] <= updates
    # The state matters: from other weights the same updates lead elsewhere.
    shaken = {n: t + 0.1 if n.startswith("model/head") else t for n, t in tensors.items()}
    checkpoint.save(shaken, state)
    assert run(tiny_encoder, checkpoint, full=full)[1] != went_on[1] or updates == 11


RATES = LearningRates(prefix=1e-2, adapter=3.0, lora=1e-2)
RACE = TrainOptions(
    batch_size=8, max_updates=32, device="cpu", encoder_dropout=True
)  # fmt: skip


def race(tiny_encoder, checkpoint=None, fit=None, options=RACE):
    """A pilot with dropout in encoder and modules, whose adapter collapses at its rate."""
    fit = fit or learnable(40)
    task = TokenisedTask(task_facts(), fit, learnable(16, seed=1))
    facts = tiny_encoder().facts
    plans = [
        Plan("toy", "pilot", facts, (kind,) * facts.layers, Reason("uniform"), modules=MODULES,
             learning_rate=RATES)
        for kind in (P, A, L)
    ]  # fmt: skip

    def start(plan):
        encoder = tiny_encoder()
        return plan_model(encoder, start_head(encoder, task, HeadOptions()), plan, 0)

    return run_pilot(start, plans, task, options, checkpoint=checkpoint, progress=False).pilot


@pytest.mark.filterwarnings("ignore:task toy")
@pytest.mark.parametrize("updates", [40, 45, 52])
def test_a_killed_pilot_ends_as_an_unbroken_one(tiny_encoder, tmp_path, updates):
    checkpoint = Checkpoint(tmp_path / "state", "key", seconds=0)
    with pytest.raises(Killed):
        race(tiny_encoder, checkpoint, Fragile(learnable(40), 8 * updates))
    tensors, state = checkpoint.load()
    assert 0 < state["spent"] <= updates
    torch.manual_seed(99)
    unbroken = race(tiny_encoder)
    assert any(point.collapsed for arm in unbroken.arms for point in arm.curve)
    assert race(tiny_encoder, Checkpoint(tmp_path / "state", "key")) == unbroken
    shaken = {n: t + 0.1 if n.endswith("head.weight") else t for n, t in tensors.items()}
    checkpoint.save(shaken, state)
    assert race(tiny_encoder, checkpoint) != unbroken


@pytest.mark.parametrize("other", [{"precision": "bfloat16"}, {"schedule": "averaged"}])
def test_a_checkpoint_of_another_training_goes_on(tiny_encoder, tmp_path, other):
    options = replace(OPTIONS, **other)
    checkpoint = Checkpoint(tmp_path / "state", "key", seconds=0)
    with pytest.raises(Killed):
        run(tiny_encoder, checkpoint, Fragile(FIT, 40), options=options)
    assert checkpoint.load() is not None
    same(run(tiny_encoder, checkpoint, options=options), run(tiny_encoder, options=options))


def test_a_state_of_another_precision_is_none(tiny_encoder, tmp_path):
    """`auto` is one, where machines of two kinds share a folder."""
    run_low, race_low = (replace(each, precision="bfloat16") for each in (OPTIONS, RACE))
    checkpoint = Checkpoint(tmp_path / "state", "key", seconds=0)
    with pytest.raises(Killed):
        run(tiny_encoder, checkpoint, Fragile(FIT, 40), options=run_low)
    same(run(tiny_encoder, checkpoint), run(tiny_encoder))
    checkpoint = Checkpoint(tmp_path / "race", "key", seconds=0)
    with pytest.raises(Killed):
        race(tiny_encoder, checkpoint, Fragile(learnable(40), 8 * 45), race_low)
    assert race(tiny_encoder, checkpoint) == race(tiny_encoder)


@pytest.mark.parametrize("damage", ["key", "cut", "flip", "weight", "empty", "folder", "text"])
def test_an_unusable_checkpoint_starts_over(tiny_encoder, tmp_path, damage):
    path = tmp_path / "state"
    with pytest.raises(Killed):
        run(tiny_encoder, Checkpoint(path, "key", seconds=0), Fragile(FIT, 40))
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    else:
        path.write_bytes({
            "key": content, "cut": content[:-100], "empty": b"", "text": b"{}",
            "flip": bytes([content[0] ^ 255]) + content[1:],
            "weight": content[:-1] + bytes([content[-1] ^ 1]),
        }[damage])  # fmt: skip
    checkpoint = Checkpoint(path, "other" if damage == "key" else "key")
    assert checkpoint.load() is None
    same(run(tiny_encoder, checkpoint), run(tiny_encoder))


def test_a_checkpoint_is_written_when_due(tiny_encoder, tmp_path):
    checkpoint = Checkpoint(tmp_path / "state", "key", seconds=3600)
    run(tiny_encoder, checkpoint)
    assert not checkpoint.path.exists()
    checkpoint = Checkpoint(tmp_path / "state", "key", seconds=0)
    run(tiny_encoder, checkpoint)
    with safe_open(checkpoint.path, "pt") as file:
        assert file.metadata()["key"] == "key"
    checkpoint.remove()
    checkpoint.remove()
    assert list(tmp_path.iterdir()) == []


def test_the_key_knows_parts_and_files(tmp_path):
    (tmp_path / "a").write_text("1")
    key = result_key({"seed": 0}, [tmp_path / "a"])
    assert key == result_key({"seed": 0}, [tmp_path / "a"])
    assert key != result_key({"seed": 1}, [tmp_path / "a"])
    (tmp_path / "a").rename(tmp_path / "b")  # names are splits', say
    assert key != result_key({"seed": 0}, [tmp_path / "b"])
    (tmp_path / "a").write_text("2")
    assert key != result_key({"seed": 0}, [tmp_path / "a"])
