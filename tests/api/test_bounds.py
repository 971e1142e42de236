"""What the short API refuses, cuts or warns about: types, lengths, labels, logits."""

from __future__ import annotations

import json

import pytest
import torch

import fishpal
from fishpal.common.errors import DataError, ParamsError
from tests.api.conftest import plan_of, texts_of


def test_logits_that_are_not_finite_are_no_prediction(encoder, task):
    model = fishpal.start(encoder, task, plan_of(encoder))
    with torch.no_grad():
        model.module.head.bias.fill_(float("nan"))
    for answer in (model.predict, model.predict_proba):
        with pytest.raises(DataError, match="logits of texts are not finite"):
            answer(["w1"])
    with pytest.raises(DataError, match="logits of texts are not finite"):
        fishpal.label_texts(model.module, encoder.tokenizer, ["w1"])


WRONG = {
    "fit, a frame for a task": lambda e, t, p: fishpal.fit(e, t.rows, p),
    "fit, a path for an encoder": lambda e, t, p: fishpal.fit("artifacts/encoder", t, p),
    "fit, a word for a plan": lambda e, t, p: fishpal.fit(e, t, "lora"),
    "fit, a dict for options": lambda e, t, p: fishpal.fit(e, t, p, options={"epochs": 1}),
    "fit, a word for a head": lambda e, t, p: fishpal.fit(e, t, p, head="probe"),
    "start, no task": lambda e, t, p: fishpal.start(e, None, p),
    "measure, a word for options": lambda e, t, p: fishpal.measure(e, t, "exact"),
    "select, a plan": lambda e, t, p: fishpal.select(p),
    "evaluate, a frame": lambda e, t, p: fishpal.start(e, t, p).evaluate(t.rows),
    "save, nowhere": lambda e, t, p: fishpal.start(e, t, p).save(None),
    "load_encoder, nothing": lambda e, t, p: fishpal.load_encoder(None),
    "load_model, a number": lambda e, t, p: fishpal.load_model(3),
    "push_to_hub, nothing": lambda e, t, p: fishpal.push_to_hub(None, "a/b"),
    "export_onnx, a word": lambda e, t, p: fishpal.export_onnx("model", "folder"),
    "export_transformers, a word": lambda e, t, p: fishpal.export_transformers("model", "folder"),
    "export_peft, a word": lambda e, t, p: fishpal.export_peft("model", "folder"),
    "Classifier, a word for a plan": lambda e, t, p: fishpal.Classifier(e, "x").fit(*texts_of(60)),
}


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_a_wrong_type_is_named(encoder, task, call):
    with pytest.raises(ParamsError, match=r"\w+ is of type \w+; allowed: \w+"):
        call(encoder, task, plan_of(encoder))


def test_a_length_beyond_the_encoder_is_the_encoder_s(encoder, tmp_path):
    most = encoder.limits.tokens
    texts, labels = texts_of(60)
    task = fishpal.Task.from_lists(texts, labels, max_length=most + 88)
    model = fishpal.start(encoder, task, plan_of(encoder, task=task.name))
    assert model.max_length == most
    long = " ".join(["w1"] * 3 * most)
    with pytest.warns(fishpal.FishpalWarning, match=f"cut at max_length {most}"):
        model.predict([long, "w2"])
    fishpal.export_sentence_transformers(model, tmp_path / "out")
    sizes = json.loads((tmp_path / "out" / "sentence_bert_config.json").read_text())
    assert sizes["max_seq_length"] == most


def test_a_folder_of_the_pipelines_cuts_at_what_the_encoder_reads(encoder, tmp_path):
    texts, labels = texts_of(60)
    task = fishpal.Task.from_lists(texts, labels)
    model = fishpal.start(encoder, task, plan_of(encoder, task=task.name))
    model.save(tmp_path / "model")
    (tmp_path / "model" / "origin.json").unlink()
    again = fishpal.load_model(tmp_path / "model", encoder)
    assert again.max_length == encoder.limits.tokens < fishpal.Model.max_length
    assert len(again.predict([" ".join(["w1"] * 99)])) == 1


def test_far_labels_are_named(encoder):
    texts, _ = texts_of(60)
    labels = [i / 7 for i in range(60)]
    far = [*labels[:-1], 1e4]
    with pytest.warns(fishpal.FishpalWarning, match="label 10000 of selection is more than 10"):
        for seed in range(8):  # until it is in selection
            task = fishpal.Task.from_lists(texts, far, selection=20, seed=seed)
            task.tokenised(encoder)
    with pytest.raises(DataError, match=r"label 1e\+200"):
        fishpal.Task.from_lists(texts, [*labels[:-1], 1e200]).tokenised(encoder)


@pytest.mark.parametrize(
    "texts", [("w1",), ([None],), (["w1"], ["w2", "w3"]), (["w1", 3],), (["w1"],) * 3]
)
def test_what_is_no_list_of_texts_is_named(encoder, task, texts):
    model = fishpal.start(encoder, task, plan_of(encoder))
    with pytest.raises(DataError, match=r"texts: .*; allowed: one list of texts"):
        fishpal.label_texts(model.module, encoder.tokenizer, *texts)
