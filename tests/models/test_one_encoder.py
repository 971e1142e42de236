"""One encoder, several models: refused or right, never silently wrong."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from fishpal.common.errors import (
    DataError,
    EncoderError,
    FishpalError,
    FishpalWarning,
    ParamsError,
    PlanError,
)
from fishpal.common.kinds import ModuleKind
from fishpal.exports.merge import merge_lora
from fishpal.fisher.engine import measure_fisher
from fishpal.models.classifier import Classifier
from fishpal.models.head import start_head
from fishpal.models.planned import plan_model
from fishpal.models.predict import predict
from fishpal.models.trained import load, save
from fishpal.params.options import FisherOptions, HeadOptions, SelectOptions, TrainOptions
from fishpal.records.examples import Example
from fishpal.records.facts import TaskFacts
from fishpal.records.plan import Plan, Reason
from fishpal.records.task import TokenisedTask
from fishpal.training.train import train
from tests.conftest import HIDDEN, VOCAB, random_examples, task_facts
from tests.modules.test_modules import SMALL

P, A, L = ModuleKind.PREFIX, ModuleKind.ADAPTER, ModuleKind.LORA
PLANS = {"prefix": (P,) * 3, "adapter": (A,) * 3, "lora": (L,) * 3, "mix": (P, None, L),
         "head": (None,) * 3, "full": (None,) * 3}  # fmt: skip
TASK = TokenisedTask(task_facts(), random_examples(16), random_examples(8, seed=1))
OPTIONS = TrainOptions(epochs=1, batch_size=4, device="cpu")
SEEN = random_examples(9, seed=5)


def fitted(encoder, name):
    """A trained model of a plan, and the plan."""
    full = name == "full"
    plan = Plan("toy", name, encoder.facts, PLANS[name], Reason("test"), full=full, modules=SMALL)
    model = plan_model(encoder, start_head(encoder, TASK, HeadOptions()), plan, 0)
    train(model, plan, TASK, OPTIONS, 0, progress=False)
    return model, plan


@pytest.fixture(scope="module")
def trained_folders(encoder_folders, tmp_path_factory):
    """Name of a plan → a folder trained in the tiny BERT, and its logits in an encoder alone."""
    from fishpal.encoders.encoder import load_encoder

    root, found = tmp_path_factory.mktemp("trained"), {}
    for name in PLANS:
        model, plan = fitted(load_encoder(encoder_folders["bert"]), name)
        save(model, plan, root / name, task=TASK.facts, seed=0, best=1)
        found[name] = root / name, predict(model, SEEN, TASK.facts)
    return found


def right_or_refused(model, expected):
    try:
        found = predict(model, SEEN, TASK.facts)
    except FishpalError as error:
        assert "another model has taken the encoder" in str(error)
    else:
        assert np.array_equal(found, expected)


@pytest.mark.parametrize(("first", "second"), product(PLANS, PLANS))
def test_two_models_on_one_encoder(tiny_encoder, trained_folders, first, second):
    encoder = tiny_encoder()
    (one, expected), (two, wanted) = trained_folders[first], trained_folders[second]
    model = load(encoder, one)
    assert np.array_equal(predict(model, SEEN, TASK.facts), expected)
    try:
        other = load(encoder, two)
    except FishpalError as error:
        assert "load the encoder again" in str(error)
    else:
        right_or_refused(other, wanted)
    right_or_refused(model, expected)


def test_a_detached_model_frees_the_encoder(tiny_encoder, trained_folders):
    encoder = tiny_encoder()
    model = load(encoder, trained_folders["lora"][0])
    with pytest.raises(FishpalError, match=r"3 modules attached \(lora\).*\.detach\(\)"):
        load(encoder, trained_folders["adapter"][0])
    model.detach()
    other = load(encoder, trained_folders["adapter"][0])
    assert np.array_equal(predict(other, SEEN, TASK.facts), trained_folders["adapter"][1])
    with pytest.raises(FishpalError, match="another model has taken the encoder"):
        predict(model, SEEN, TASK.facts)


@pytest.mark.parametrize("name", ["lora", "full"])
def test_a_used_encoder_is_not_measured_nor_trained(tiny_encoder, trained_folders, name):
    encoder = tiny_encoder()
    head = start_head(encoder, TASK, HeadOptions())
    model = load(encoder, trained_folders[name][0])
    with pytest.raises(FishpalError, match="load the encoder again"):
        measure_fisher(encoder, head, TASK, SMALL, FisherOptions(), progress=False)
    plan = Plan("toy", "x", encoder.facts, PLANS["lora"], Reason("test"), modules=SMALL)
    with pytest.raises(FishpalError, match="load the encoder again"):
        plan_model(encoder, head, plan, 0)
    assert np.array_equal(predict(model, SEEN, TASK.facts), trained_folders[name][1])


def test_a_merged_or_bare_model_is_not_saved(tiny_encoder, tmp_path):
    model, plan = fitted(tiny_encoder(), "lora")
    merge_lora(model)
    with pytest.raises(PlanError, match="has 0 modules attached; allowed: the plan's 3"):
        save(model, plan, tmp_path / "t", task=TASK.facts, seed=0, best=1)
    encoder = tiny_encoder()
    bare = Classifier(encoder, nn.Linear(HIDDEN, 2))
    with pytest.raises(PlanError, match="has 0 modules attached"):
        save(bare, plan, tmp_path / "t", task=TASK.facts, seed=0, best=1)
    with pytest.raises(FishpalError, match="nothing to train; allowed: one from `plan_model`"):
        train(bare.requires_grad_(False), plan, TASK, OPTIONS, 0, progress=False)
    assert not (tmp_path / "t").exists()
    plan_model(tiny_encoder(), nn.Linear(HIDDEN, 2), plan, 0)
    model, plan = fitted(tiny_encoder(), "lora")
    merge_lora(model)
    with pytest.raises(FishpalError, match="weights are merged with a LoRA's; allowed: the loaded"):
        load(model.source, tmp_path / "t") if (tmp_path / "t").exists() else Classifier(
            model.source, nn.Linear(HIDDEN, 2)
        )


FOUR = [5, 6, 7, 8]


@pytest.mark.parametrize(
    ("example", "message"),
    [
        (Example([], 0), "row 0: 0 tokens; allowed: 1 to 40"),
        (Example([5] * 41, 0), "row 0: 41 tokens; allowed: 1 to 40"),
        (Example([5, 10**6], 0), f"token ids go from 5 to 1000000; allowed: 0 to {VOCAB - 1}"),
        (Example([-1], 0), "token ids go from -1"),
        (Example(FOUR, 2), "label is 2; allowed: 0 to 1"),
        (Example(FOUR, True), "label is True; allowed"),
        (Example(FOUR, 0.5), "label is 0.5; allowed"),
        (Example(FOUR, 0, [0, 2, 0, 0]), "token_type_ids are"),
        (Example(FOUR, 0, [0]), "token_type_ids are"),
    ],
)
def test_examples_that_nothing_can_read(tiny_encoder, example, message):
    encoder = tiny_encoder()
    head = start_head(encoder, TASK, HeadOptions())
    plan = Plan("toy", "x", encoder.facts, PLANS["head"], Reason("test"), modules=SMALL)
    model = plan_model(encoder, head, plan, 0)
    spoilt = TokenisedTask(TASK.facts, [example, *TASK.fit], TASK.selection)
    with pytest.raises(DataError, match=message):
        train(model, plan, spoilt, OPTIONS, 0, progress=False)
    with pytest.raises(DataError, match=message):
        predict(model, [example], TASK.facts)
    with pytest.raises(DataError, match=message):
        measure_fisher(encoder, head, spoilt, SMALL, FisherOptions(), progress=False)


def test_sharp_edges_of_the_library(tiny_encoder):
    encoder = tiny_encoder()
    with pytest.raises(EncoderError, match=f"head takes 5 features; allowed: .*{HIDDEN}"):
        Classifier(encoder, nn.Linear(5, 2))
    with pytest.raises(ParamsError, match="criterion is 'foo'; allowed: adam"):
        SelectOptions(criterion="foo")
    empty = TokenisedTask(TASK.facts, TASK.fit)
    model, plan = fitted(encoder, "head")
    with pytest.raises(DataError, match="selection is empty"):
        train(model, plan, empty, OPTIONS, 0, progress=False)
    regression = TokenisedTask(TaskFacts("r", None, 0), [Example(FOUR, 1)] * 3)
    with pytest.raises(DataError, match="label is 1; allowed: a finite float"):
        regression.check(encoder.limits)
    assert torch.is_grad_enabled()


def test_prediction_leaves_every_mode_as_it_was(tiny_encoder):
    model, _ = fitted(tiny_encoder(), "lora")
    model.train()
    model.encoder.eval()
    before = [module.training for module in model.modules()]
    predict(model, SEEN, TASK.facts)
    assert [module.training for module in model.modules()] == before


@pytest.mark.parametrize(
    ("outputs", "labels", "expected"),
    [
        (3, torch.tensor([0.0, 1.0, 2.0]), "float32 of shape .3,.; allowed: integers of shape .3,"),
        (3, torch.tensor([[0], [1], [2]]), "shape .3, 1.; allowed: integers"),
        (1, torch.tensor([0, 1, 2]), "int64 of shape .3,.; allowed: floating numbers"),
        (1, torch.tensor([[0.1], [0.2], [0.3]]), "shape .3, 1.; allowed: floating"),
    ],
)
def test_labels_that_torch_would_broadcast_are_refused(tiny_encoder, outputs, labels, expected):
    encoder = tiny_encoder()
    model = Classifier(encoder, nn.Linear(encoder.facts.hidden, outputs))
    ids = torch.ones(3, 4, dtype=torch.long)
    with pytest.raises(DataError, match=expected):
        model(ids, ids, labels=labels)


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8])
def test_labels_may_be_integers_of_any_width(tiny_encoder, dtype):
    encoder = tiny_encoder()
    model, ids = Classifier(encoder, nn.Linear(encoder.facts.hidden, 3)), torch.ones(3, 4).long()
    found = model(ids, ids, labels=torch.tensor([0, 1, 2], dtype=dtype)).loss
    assert found == model(ids, ids, labels=torch.tensor([0, 1, 2])).loss


def test_labels_of_a_regression_that_are_not_standardised_are_named(tiny_encoder):
    encoder = tiny_encoder()
    model, ids = Classifier(encoder, nn.Linear(encoder.facts.hidden, 1)), torch.ones(2, 4).long()
    with pytest.warns(FishpalWarning, match="a label is 120, .*model.task.standardise"):
        model(ids, ids, labels=torch.tensor([1.0, 120.0]))
