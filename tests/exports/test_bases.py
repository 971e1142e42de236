"""Exports where the encoder's folder says something else than most, or labels are large numbers."""

from __future__ import annotations

import json
import shutil
import warnings
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from onnxruntime.capi.onnxruntime_pybind11_state import Fail
from sentence_transformers import SentenceTransformer
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

import fishpal
from benchmarks.toy.encoder import save_tokenizer, tiny_config
from fishpal.records.facts import Scale
from tests.exports.conftest import TEXTS, expected_of, run_listing

LONG = [" ".join(f"w{i}" for i in range(count)) for count in (25, 2, 13)]


@pytest.fixture
def changed(text_encoders, tmp_path):
    """`changed(type, file, key=value, …)`: an encoder in whose folder's JSON file this stands."""

    def change(kind, file, **keys):
        folder = shutil.copytree(text_encoders(kind, "cls").folder, tmp_path / "encoder")
        found = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps(found | keys))
        return fishpal.load_encoder(folder, "cls")

    return change


@pytest.fixture
def left(text_encoders, tmp_path):
    """`left(type, pooling)`: an encoder whose tokenizer pads on the left, up to any length."""

    def load(kind, pooling):
        folder = shutil.copytree(text_encoders(kind, pooling).folder, tmp_path / "encoder")
        save_tokenizer(folder, padding_side="left")
        return fishpal.load_encoder(folder, pooling)

    return load


@torch.no_grad()
def logits_of(loaded, folder):
    batch = AutoTokenizer.from_pretrained(folder)(TEXTS, return_tensors="pt", padding=True)
    return loaded.eval()(**batch).logits.numpy()


@pytest.mark.parametrize("act", ["relu", "gelu", "gelu_new", "quick_gelu", "silu"])
def test_a_deberta_whose_head_has_another_activation(make, changed, tmp_path, act):
    model = make(changed("deberta-v2", "config.json", pooler_hidden_act=act))
    fishpal.export_transformers(model, tmp_path / "out")
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    np.testing.assert_allclose(logits_of(loaded, tmp_path / "out"), model.logits(TEXTS), atol=1e-4)


@pytest.mark.parametrize(("key", "value"), [
    ("pooler_hidden_act", "tanh"), ("pooler_hidden_act", "mish"), ("pooler_hidden_size", 8),
])  # fmt: skip
def test_a_deberta_whose_head_ours_does_not_fit_in(make, changed, tmp_path, key, value):
    model = make(changed("deberta-v2", "config.json", **{key: value}))
    with pytest.raises(fishpal.FishpalError, match=f"{key} is {value}; allowed: "):
        fishpal.export_transformers(model, tmp_path / "out")
    fishpal.export_peft(model, tmp_path / "peft")
    assert (tmp_path / "peft" / "head.safetensors").is_file(), "beside the bare encoder"


@pytest.mark.parametrize("export", ["transformers", "peft"])
@pytest.mark.parametrize("kind", ["bert", "roberta", "electra", "distilbert"])
def test_a_regression_in_a_large_unit(make, tmp_path, kind, export):
    """As house prices: the head is as large as the labels, and no activation may saturate."""
    model, unit = make(kind, classes=1), 1e6
    model.module.task = replace(model.task, scale=Scale(3 * unit, unit))
    getattr(fishpal, f"export_{export}")(model, tmp_path / "out")
    if export == "peft":
        loaded = run_listing(tmp_path / "out")["model"]
    else:
        loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    found = logits_of(loaded, tmp_path / "out")
    np.testing.assert_allclose(found, expected_of(model), rtol=1e-5, atol=1e-5 * unit)
    assert np.ptp(found) > unit / 10


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_an_encoder_kept_in_half_precision(make, changed, tmp_path, kind, dtype):
    """Its config speaks of its own weights: merged ones, a head's and sums of both need float32."""
    model = make(changed(kind, "config.json", dtype=dtype), classes=3)
    expected = expected_of(model)
    for form in ("transformers", "peft", "sentence_transformers"):
        getattr(fishpal, f"export_{form}")(model, tmp_path / form)
    for form in ("transformers", "sentence_transformers"):
        assert json.loads((tmp_path / form / "config.json").read_text())["dtype"] == "float32"
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "transformers")
    for each in (loaded, run_listing(tmp_path / "peft")["model"]):
        assert each.dtype == torch.float32
        np.testing.assert_allclose(logits_of(each, tmp_path / "peft"), expected, atol=1e-4)
    found = SentenceTransformer(str(tmp_path / "sentence_transformers"), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert"])
def test_a_base_that_was_fine_tuned_on_other_labels(make, tmp_path, kind):
    """Its head for three labels gives way to the one that the listing loads, for two."""
    config = tiny_config(kind)
    config.num_labels = 3
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path / "base")
    save_tokenizer(tmp_path / "base", model_input_names=["input_ids", "attention_mask"])
    model = make(fishpal.load_encoder(tmp_path / "base", "cls"), classes=2)
    fishpal.export_peft(model, tmp_path / "out")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # peft's, of keys that are missing
        loaded = run_listing(tmp_path / "out")["model"]
    found = logits_of(loaded, tmp_path / "out")
    np.testing.assert_allclose(found, expected_of(model), atol=1e-4)


def check_tokenizer(folder, length):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert (tokenizer.padding_side, tokenizer.model_max_length) == ("right", length)


def test_an_exported_tokenizer_pads_and_cuts_as_the_model(make, left, tmp_path):
    model = make(left("bert", "cls"), classes=3)
    model.max_length = 8
    with pytest.warns(fishpal.FishpalWarning, match="2 of 3 texts were cut at max_length 8"):
        expected = model.predict_proba(LONG)
    for form in ("transformers", "peft", "sentence_transformers"):
        getattr(fishpal, f"export_{form}")(model, tmp_path / form)
        check_tokenizer(tmp_path / form, 8)
    classify = pipeline("text-classification", str(tmp_path / "transformers"), top_k=None)
    for found, row in zip(classify(LONG, truncation=True, batch_size=3), expected, strict=True):
        scores = {each["label"]: each["score"] for each in found}
        assert [scores[name] for name in model.classes] == pytest.approx(row.tolist(), abs=1e-4)
    encoder = model.encoder.tokenizer  # which others may use: as it was
    assert encoder.padding_side == "left" and encoder.model_max_length > 10**6


def test_an_encoder_without_token_types_is_handed_none(make, left, tmp_path):
    """GPT-2 would add the embeddings of tokens 0 and 1."""
    model = make(left("gpt2", "last"), classes=3)
    fishpal.export_sentence_transformers(model, tmp_path / "out")
    found = SentenceTransformer(str(tmp_path / "out"), device="cpu").encode(LONG)
    np.testing.assert_allclose(found, model.logits(LONG), atol=1e-4, rtol=1e-4)


def listed(folder, texts):
    """What the listing of an ONNX folder's card gives for these texts instead of its own."""
    card = folder / "README.md"
    card.write_text(card.read_text().replace("['a warm, funny and moving film']", repr(texts)))
    return run_listing(folder)["last"][0]


@pytest.mark.parametrize(("kind", "pooling"), [("bert", "cls"), ("gpt2", "last")])
def test_the_onnx_listing_pads_and_cuts_as_the_model(make, left, tmp_path, kind, pooling):
    model = make(left(kind, pooling), classes=3)
    model.max_length = 8
    fishpal.export_onnx(model, tmp_path / "out")
    check_tokenizer(tmp_path / "out", 8)
    with pytest.warns(fishpal.FishpalWarning, match="2 of 3 texts were cut at max_length 8"):
        expected = model.logits(LONG)
    np.testing.assert_allclose(listed(tmp_path / "out", LONG), expected, atol=1e-4, rtol=1e-4)


def test_what_onnxruntime_does_not_run_is_one_line(make, tmp_path, monkeypatch):
    class Refuses:
        def __init__(self, *_, **__):
            raise Fail("Type Error: Type 'tensor(int64)'\nof node_Where\n is invalid")

    monkeypatch.setattr(onnxruntime, "InferenceSession", Refuses)
    with pytest.raises(fishpal.FishpalError) as caught:
        fishpal.export_onnx(make(), tmp_path / "out")
    said = r"onnxruntime does not run the encoder's ONNX file: Type Error: Type 'tensor(int64)'\nof"
    assert str(caught.value).startswith(said) and "; allowed: " in str(caught.value)
    assert "\n" not in str(caught.value) and list(tmp_path.iterdir()) == []
