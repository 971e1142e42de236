"""The model in transformers' Trainer, in accelerate, and as scikit-learn's estimator."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from accelerate import Accelerator
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

import fishpal
from fishpal.models.batching import collate
from tests.api.conftest import FAST, plan_of, texts_of

KINDS = ["prefix", "adapter", "lora"]


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
        tmp_path, num_train_epochs=6, per_device_train_batch_size=16, learning_rate=0.02,
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
        model.module, torch.optim.AdamW(trained, lr=0.02), batches
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
