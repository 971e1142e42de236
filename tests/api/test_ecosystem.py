"""The model in transformers' Trainer, in accelerate, and as scikit-learn's estimator."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

import fishpal
from fishpal.models.batching import collate
from tests.api.conftest import FAST, plan_of, texts_of

SPEED = {"prefix": 0.1, "adapter": 0.02, "lora": 0.02}
KINDS = list(SPEED)


def rows_of(model, task):
    """Tokenised rows as Trainer takes them."""
    fields = {"label": "labels", "input_ids": "input_ids", "token_type_ids": "token_type_ids"}
    return [
        {theirs: getattr(each, ours) for ours, theirs in fields.items()}
        for each in task.examples(model.encoder)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_labels_in_loss_and_logits_out(encoder, task, kind):
    model = fishpal.start(encoder, task, plan_of(encoder, kind))
    batch = collate(task.examples(encoder)[:7], model.task.pad_id)
    found = model.module(**batch)
    labels = batch.pop("labels")
    logits = model.module(**batch)
    assert torch.equal(found.logits, logits)
    log_p = logits - logits.exp().sum(dim=1, keepdim=True).log()
    expected = -log_p[torch.arange(7), labels].mean()
    assert torch.allclose(found.loss, expected, atol=1e-6)
    types = batch.pop("token_type_ids")
    assert not types.any() and torch.equal(model.module(**batch), logits)


@pytest.mark.parametrize("kind", KINDS)
def test_trainer_trains_it(encoder, task, tmp_path, kind):
    model = fishpal.start(encoder, task, plan_of(encoder, kind))
    frozen = {n: p.clone() for n, p in model.module.encoder.named_parameters()}
    rows = rows_of(model, task)
    arguments = TrainingArguments(
        tmp_path, num_train_epochs=12, per_device_train_batch_size=16, learning_rate=SPEED[kind],
        report_to="none", eval_strategy="epoch", save_strategy="epoch", seed=0, use_cpu=True,
        load_best_model_at_end=True, metric_for_best_model="accuracy", disable_tqdm=True,
        logging_strategy="no",
    )  # fmt: skip
    trainer = Trainer(
        model.module, arguments, DataCollatorWithPadding(encoder.tokenizer), rows[:100], rows[100:],
        compute_metrics=lambda p: {"accuracy": np.mean(p.predictions.argmax(1) == p.label_ids)},
    )  # fmt: skip
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    assert trainer.evaluate()["eval_loss"] < 0.8 * before
    for name, parameter in model.module.encoder.named_parameters():
        assert torch.equal(parameter, frozen[name])
    predicted = trainer.predict(rows[100:])
    texts = task.rows["text"][100:].tolist()
    assert np.allclose(model.logits(texts), predicted.predictions, atol=1e-5)
    model.save(tmp_path / "model")
    again = fishpal.load_model(tmp_path / "model")
    assert np.array_equal(again.logits(texts), model.logits(texts))


@pytest.mark.parametrize("kind", KINDS)
def test_accelerate_trains_it(encoder, task, kind):
    model = fishpal.start(encoder, task, plan_of(encoder, kind))
    accelerator = Accelerator(cpu=True)
    trained = [p for p in model.module.parameters() if p.requires_grad]
    batches = torch.utils.data.DataLoader(
        task.examples(encoder), batch_size=24, collate_fn=lambda e: collate(e, model.task.pad_id)
    )
    module, optimizer, batches = accelerator.prepare(
        model.module, torch.optim.AdamW(trained, lr=SPEED[kind]), batches
    )
    losses = []
    for _ in range(5):
        for batch in batches:
            loss = module(**batch).loss
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.8 * losses[0]
    assert set(model.predict(["w1 w2", "w30 w31"])) <= {"bad", "good"}


def first_of_four(accelerator):
    """A linear and an optimizer within the first of four batches whose gradients are gathered."""
    net = torch.nn.Linear(2, 2)
    net, optimizer = accelerator.prepare(net, torch.optim.SGD(net.parameters(), 1.0))
    with accelerator.accumulate(net):
        accelerator.backward(net(torch.ones(1, 2)).sum())
        optimizer.step()
    return net, optimizer


@pytest.mark.parametrize("public", ["fit", "train"])
def test_a_caller_who_accumulates_gradients(encoder, task, public):
    """Training steps at every batch all the same, and the caller at every fourth again."""

    def losses():
        plan, options = plan_of(encoder), fishpal.TrainOptions(updates=6, batch_size=8)
        if public == "fit":
            return [
                p.selection_loss
                for p in fishpal.fit(encoder, task, plan, 0, options).training.curve
            ]
        module = fishpal.start(encoder, task, plan).module
        found = fishpal.train(module, plan, task.tokenised(encoder), options, 0, progress=False)
        return [point.selection_loss for point in found.curve]

    expected = losses()
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=4)
    net, optimizer = first_of_four(accelerator)
    assert not accelerator.sync_gradients
    assert losses() == expected
    assert accelerator.gradient_accumulation_steps == 4 and not accelerator.sync_gradients
    moved = []
    for _ in range(3):
        before = net.weight.detach().clone()
        with accelerator.accumulate(net):
            accelerator.backward(net(torch.ones(1, 2)).sum())
            optimizer.step()
        moved.append(not torch.equal(before, net.weight))
    assert moved == [False, False, True]


def test_fit_leaves_no_state_of_accelerate_behind(encoder, task):
    """As one for the CPU, which a caller's own `Accelerator` would then be, too."""
    states = (AcceleratorState, GradientState, PartialState)
    for state in states:
        state._shared_state.clear()
    options = fishpal.TrainOptions(updates=2, batch_size=8, device="cpu")
    fishpal.fit(encoder, task, plan_of(encoder), options=options)
    assert [state._shared_state for state in states] == [{}, {}, {}]


def test_an_estimator_of_scikit_learn(encoder):
    texts, labels = texts_of(90)
    labels = np.array([7, 3])[labels]
    estimator = fishpal.Classifier(encoder, plan_of(encoder), FAST)
    scores = cross_val_score(estimator, texts, labels, cv=2)
    assert scores.shape == (2,) and scores.mean() > 0.7
    found = clone(estimator).fit(texts, labels)
    assert found.classes_.tolist() == [3, 7]
    proba, predicted = found.predict_proba(texts), found.predict(texts)
    assert np.array_equal(found.classes_[proba.argmax(axis=1)], predicted)
    assert found.score(texts, labels) == np.mean(predicted == labels)
    keys = ["encoder", "head", "max_length", "options", "plan", "seed", "selection"]
    assert sorted(estimator.get_params(deep=False)) == keys
    assert clone(estimator).get_params()["encoder"] is encoder
    frame = pd.DataFrame({"a": texts, "b": texts})
    assert len(clone(estimator).fit(frame, labels).predict(frame)) == len(texts)


def test_the_estimator_in_search_and_pipeline(encoder, encoder_folder):
    texts, labels = texts_of(40)
    names = np.array(["no", "yes"])[labels]
    quick = fishpal.TrainOptions(epochs=1, evaluations_per_epoch=1)
    estimator = fishpal.Classifier(str(encoder_folder), plan_of(encoder), quick)
    grid = {"classifier__options": [quick, FAST]}
    found = GridSearchCV(make_pipeline(estimator), grid, cv=2).fit(texts, names)
    assert found.best_params_["classifier__options"] in (quick, FAST)
    assert set(found.predict(texts)) <= {"no", "yes"}
    with pytest.raises(ValueError, match="not fitted"):
        clone(estimator).predict(texts)
    with pytest.raises(fishpal.FishpalError, match="allowed: as many"):
        clone(estimator).fit(texts, names[:-1])


CLASSES = {  # of a task with these labels, too
    "texts": (np.array(["no", "yes"]), ("no", "yes")),
    "numbers": (np.array([7, 3]), ("3", "7")),
    "whole floats": (np.array([1.0, 0.0]), ("0", "1")),
    "truth values": (np.array([True, False]), ("False", "True")),
}


@pytest.mark.parametrize(("classes", "names"), CLASSES.values(), ids=CLASSES)
def test_the_estimators_model_knows_the_classes(encoder, tmp_path, classes, names):
    texts, labels = texts_of(60)
    labels = classes[labels]
    found = fishpal.Classifier(encoder, plan_of(encoder), FAST).fit(texts, labels)
    model = found.model_
    assert model.classes == names
    proba = found.predict_proba(texts)
    assert model.predict(texts) == [names[i] for i in proba.argmax(axis=1)]
    scores = model.evaluate(fishpal.Task.from_lists(texts, labels))
    assert scores["accuracy"] == found.score(texts, labels) > 0.7
    model.save(tmp_path / "model")
    assert fishpal.load_model(tmp_path / "model").classes == names


class Alike:
    """Two classes of one text."""

    def __init__(self, number):
        self.number = number

    def __lt__(self, other):
        return self.number < other.number

    def __str__(self):
        return "alike"


def test_classes_of_one_text_stay_numbers(encoder):
    texts, labels = texts_of(40)
    alike = np.array([Alike(0), Alike(1)], dtype=object)
    found = fishpal.Classifier(encoder, plan_of(encoder), FAST).fit(texts, alike[labels])
    assert found.model_.classes == ("0", "1")
    assert set(found.predict(texts)) <= set(alike)
