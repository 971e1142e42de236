"""Models that are evaluated, saved and loaded: no fact of them is lost on the way."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

import fishpal
from benchmarks.toy.project import write_encoder
from fishpal.api.origin import Origin
from fishpal.common.errors import DataError, FishpalError, FishpalWarning, PlanError
from fishpal.models.trained import TrainedCard
from tests.api.conftest import FAST, plan_of, texts_of

KINDS = ["lora", "prefix", "full", None]
QUICK = replace(FAST, epochs=None, updates=6, evaluations_per_epoch="auto")


def plan_named(encoder, kind):
    plan = plan_of(encoder, None if kind == "full" else kind)
    return replace(plan, full=kind == "full")


def named_task(texts, labels, **options):
    return fishpal.Task.from_lists(texts, [("bad", "good")[y] for y in labels], **options)


@pytest.mark.filterwarnings("ignore::fishpal.common.errors.FishpalWarning")
def test_what_is_evaluated_is_what_is_predicted(encoder):
    """A text is cut at the model's length, whatever the task's: here its class is in its end."""
    texts, labels = texts_of(120)
    texts = [f"w0 w35 w1 {text}" for text in texts]
    model = fishpal.fit(encoder, named_task(texts, labels), plan_of(encoder), options=FAST)
    for own, other in ((128, 5), (5, 128)):
        model.max_length = own
        proba, test = model.predict_proba(texts), named_task(texts, labels, max_length=other)
        scores = model.evaluate(test)
        assert scores["accuracy"] == np.mean(proba.argmax(axis=1) == labels)
        loss = -np.log(proba[np.arange(120), labels]).mean()
        assert scores["loss"] == pytest.approx(loss, abs=1e-6)
        assert test.options.max_length == other
    lengths = [len(each.input_ids) for each in test.examples(encoder)]
    assert max(lengths) > 5 and (scores["accuracy"] < 0.75)


def test_a_task_with_other_options_has_other_tokens(encoder, task):
    before = task.tokenised(encoder)
    with pytest.warns(fishpal.FishpalWarning, match="cut at max_length 5"):
        other = replace(task, options=replace(task.options, max_length=5)).tokenised(encoder)
    assert max(len(each.input_ids) for each in other.fit) == 5
    seeded = replace(task, options=replace(task.options, split_seed=1)).tokenised(encoder)
    assert seeded.selection != before.selection
    assert task.tokenised(encoder) is before


def test_a_task_evaluated_again_takes_its_own_place_on_the_card(encoder, task):
    model = fishpal.start(encoder, task, plan_of(encoder))
    model.evaluate(task)
    other = named_task(*texts_of(40, seed=3), name="other")
    model.evaluate(other)
    model.evaluate(task)
    assert [each.task for each in model.scores] == ["other", "toy"]


@pytest.mark.parametrize("kind", KINDS)
def test_loading_and_saving_loses_nothing(encoder, task, tmp_path, kind):
    low = replace(QUICK, precision="bfloat16")
    model = fishpal.fit(encoder, task, plan_named(encoder, kind), 3, low)
    assert model.training.best_update > 0
    model.evaluate(task)
    model.save(tmp_path / "first")
    fishpal.load_model(tmp_path / "first").save(tmp_path / "second")
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        for name in ("first", "second")
    )
    origins = [json.loads(files.pop("origin.json")) for files in (first, second)]
    assert first == second and origins[0] == origins[1]
    card = TrainedCard.load(tmp_path / "second/card.json")
    assert (card.best_update, card.precision) == (model.training.best_update, "bfloat16")
    again = fishpal.load_model(tmp_path / "second")
    assert [each.task for each in again.scores] == ["toy"]
    assert again.copy().scores == again.scores and again.copy().training == again.training
    assert model.copy().training is model.training


def test_a_start_that_is_saved_was_not_trained(encoder, task, tmp_path):
    fishpal.start(encoder, task, plan_of(encoder)).save(tmp_path / "model")
    assert fishpal.load_model(tmp_path / "model").training is None
    assert "scores" not in json.loads((tmp_path / "model/origin.json").read_text())


def test_no_text_of_others_comes_with_the_scores(encoder, task, tmp_path):
    model = fishpal.start(encoder, task, plan_of(encoder))
    model.evaluate(task)
    model.save(tmp_path / "model")
    path = tmp_path / "model/origin.json"
    path.write_text(path.read_text().replace("accuracy", "<script>"))
    with pytest.raises(fishpal.FishpalError, match="scores is '<script>'; allowed: accuracy, f1"):
        Origin.load(path)


@pytest.mark.parametrize("train_head", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_what_was_trained_can_be_trained_on(encoder, task, tmp_path, kind, train_head):
    """As often as it goes through files, and in copies; nothing else becomes trainable."""
    if kind is None and not train_head:
        return
    options = replace(QUICK, train_head=train_head)
    model = fishpal.fit(encoder, task, plan_named(encoder, kind), options=options)

    def trained(model):
        return {name for name, p in model.module.named_parameters() if p.requires_grad}

    model.save(tmp_path / "model")
    loaded = fishpal.load_model(tmp_path / "model")
    loaded.save(tmp_path / "again")
    others = [loaded, fishpal.load_model(tmp_path / "again"), model.copy(), copy.deepcopy(model)]
    others += [pickle.loads(pickle.dumps(model))]  # noqa: S301
    assert all(trained(each) == trained(model) for each in others)
    assert ("head.weight" in trained(model)) is train_head
    written = json.loads((tmp_path / "again/card.json").read_text())
    assert written.get("train_head", True) is train_head
    assert ("train_head" in written) is not train_head, "files keep their bytes"
    assert not any(p.requires_grad for p in encoder.model.parameters())


def test_the_working_folder_may_change(task, tmp_path, monkeypatch):
    write_encoder(tmp_path / "place/encoder")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "place")
    encoder = fishpal.load_encoder("encoder")
    assert (encoder.name, encoder.folder) == ("encoder", tmp_path / "place/encoder")
    monkeypatch.chdir(tmp_path / "other")
    model = fishpal.fit(encoder, task, plan_of(encoder), options=QUICK)
    model.save("model")
    texts, _ = texts_of(9, seed=2)
    again = fishpal.load_model("model")
    assert np.array_equal(again.logits(texts), model.logits(texts))
    assert pickle.loads(pickle.dumps(model)).predict(texts) == model.predict(texts)  # noqa: S301


def test_a_folder_with_modules_that_its_plan_lacks_is_refused(encoder, task, tmp_path):
    fishpal.start(encoder, task, plan_of(encoder)).save(tmp_path / "model")
    path = tmp_path / "model" / "modules.safetensors"
    tensors = load_file(path)
    save_file(tensors | {"9.lora.query.a": torch.zeros(2)}, path)
    with pytest.raises(PlanError, match=r"modules.safetensors: holds 9.lora.query.a; allowed"):
        fishpal.load_model(tmp_path / "model")


def test_a_folder_with_a_length_that_is_none_is_refused(encoder, task, tmp_path):
    fishpal.start(encoder, task, plan_of(encoder)).save(tmp_path / "model")
    path = tmp_path / "model" / "origin.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"max_length": -1}))
    with pytest.raises(FishpalError, match="max_length is -1"):
        fishpal.load_model(tmp_path / "model")


def test_a_token_that_the_encoder_has_no_vector_for_is_named(encoder_folder, tmp_path):
    folder = shutil.copytree(encoder_folder, tmp_path / "encoder")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["URL"])
    tokenizer.save_pretrained(folder)
    encoder, (texts, labels) = fishpal.load_encoder(folder), texts_of(40)
    task = named_task([f"{text} URL" for text in texts], labels)
    with pytest.raises(DataError, match="token ids go from .*; allowed: 0 to"):
        fishpal.fit(encoder, task)


def test_a_model_knows_what_its_encoder_was_said_to_compute(encoder_folder, task, tmp_path):
    """Its weights are the same, whatever is computed with them."""
    folder = tmp_path / "encoder"
    shutil.copytree(encoder_folder, folder)
    encoder = fishpal.load_encoder(folder)
    fishpal.start(encoder, task, plan_of(encoder)).save(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    for change, count in (({"transformers_version": "4.0"}, 0), ({"hidden_act": "relu"}, 1)):
        (folder / "config.json").write_text(json.dumps(config | change))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", FishpalWarning)
            fishpal.load_model(tmp_path / "model").predict(["w1"])
        said = " ".join(str(each.message) for each in caught)
        assert said.count("config.json says other") == count


@pytest.mark.parametrize("changed", ["vocabulary", "special tokens"])
def test_a_model_knows_its_tokenizer(encoder_folder, task, tmp_path, changed):
    """Weights are the same, and so every token id would mean another word, without a word."""
    folder = tmp_path / "encoder"
    shutil.copytree(encoder_folder, folder)
    encoder = fishpal.load_encoder(folder)
    fishpal.start(encoder, task, plan_of(encoder)).save(tmp_path / "model")
    assert fishpal.load_model(tmp_path / "model").predict(["w1"])
    path = folder / "tokenizer.json"
    data = json.loads(path.read_text())
    if changed == "vocabulary":
        vocabulary = data["model"]["vocab"]
        vocabulary["w1"], vocabulary["w30"] = vocabulary["w30"], vocabulary["w1"]
    else:
        data["post_processor"] = None
    path.write_text(json.dumps(data))
    with pytest.raises(PlanError, match="model: was trained with another tokenizer"):
        fishpal.load_model(tmp_path / "model")
