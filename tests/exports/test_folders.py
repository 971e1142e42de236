"""Exported folders, loaded by the libraries that they are for."""

from __future__ import annotations

import json
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    pipeline,
)

import fishpal
from fishpal.encoders.encoder import fingerprint
from tests.exports.conftest import TEXTS, expected_of, run_listing

HEADED = ["bert", "roberta", "xlm-roberta", "camembert", "mpnet", "electra", "distilbert",
          "deberta-v2"]  # fmt: skip


@torch.no_grad()
def logits_of(model, folder, texts=TEXTS):
    batch = AutoTokenizer.from_pretrained(folder)(texts, return_tensors="pt", padding=True)
    return model.eval()(**batch).logits.numpy()


@pytest.mark.parametrize("kind", HEADED)
@pytest.mark.parametrize("classes", [1, 3])
def test_transformers_own_classification_model(make, tmp_path, kind, classes):
    model = make(kind, kinds=("lora", "bias", "ia3"), classes=classes)
    before = fingerprint(model.encoder.model)
    fishpal.export_transformers(model, tmp_path / "out")
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    expected = expected_of(model)
    assert np.allclose(logits_of(loaded, tmp_path / "out"), expected, atol=1e-4, rtol=1e-4)
    assert fingerprint(model.encoder.model) == before
    assert np.array_equal(expected_of(model), expected)  # the model itself is as it was
    run = pipeline("text-classification", str(tmp_path / "out"))
    if classes > 1:
        found = [each["label"] for each in run(TEXTS)]
        assert found == model.predict(TEXTS)
        scores = [each["score"] for each in run(TEXTS)]
        assert np.allclose(scores, model.predict_proba(TEXTS).max(axis=1), atol=1e-4)
    else:
        found = [each["score"] for each in run(TEXTS, function_to_apply="none")]
        assert np.allclose(found, model.predict(TEXTS), atol=1e-3)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_sentence_transformers(make, tmp_path, kind, pooling):
    model = make(kind, pooling, classes=3)
    fishpal.export_sentence_transformers(model, tmp_path / "out")
    found = SentenceTransformer(str(tmp_path / "out"), device="cpu").encode(TEXTS)
    assert np.allclose(found, expected_of(model), atol=1e-4)
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["id2label"] == {"0": "c0", "1": "c1", "2": "c2"}


@pytest.mark.parametrize("kind", HEADED)
@pytest.mark.parametrize(("module", "classes"), [("lora", 1), ("lora", 3), ("ia3", 3)])
def test_peft_with_the_head(make, tmp_path, kind, module, classes):
    model = make(kind, kinds=(module, None, module), classes=classes)
    fishpal.export_peft(model, tmp_path / "out")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # peft's, of keys that are missing
        base = AutoModelForSequenceClassification.from_pretrained(
            model.encoder.folder, num_labels=classes
        )
        loaded = PeftModel.from_pretrained(base, tmp_path / "out")
    found = logits_of(loaded, tmp_path / "out")
    assert np.allclose(found, expected_of(model), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("module", ["lora", "ia3"])
@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_peft_with_the_head_beside(make, tmp_path, kind, module):
    model = make(kind, "mean", kinds=(module, module, None), classes=3)
    fishpal.export_peft(model, tmp_path / "out")
    loaded = PeftModel.from_pretrained(
        AutoModel.from_pretrained(model.encoder.folder), tmp_path / "out"
    )
    batch = AutoTokenizer.from_pretrained(tmp_path / "out")(
        TEXTS, return_tensors="pt", padding=True
    )
    with torch.no_grad():
        hidden = loaded.eval()(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1)
    pooled = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
    head = load_file(tmp_path / "out/head.safetensors")
    found = pooled @ head["weight"].T + head["bias"]
    assert np.allclose(found.numpy(), expected_of(model), atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "pooling", "kinds", "classes"),
    [
        ("bert", "mean", ("prefix", "bias", "lora"), 3),
        ("modernbert", "cls", ("ia3", "adapter", "prefix"), 1),
    ],
)
def test_onnx(make, tmp_path, kind, pooling, kinds, classes):
    model = make(kind, pooling, kinds, classes)
    expected = expected_of(model)
    fishpal.export_onnx(model, tmp_path / "out")
    session = onnxruntime.InferenceSession(tmp_path / "out/model.onnx")
    names = [each.name for each in session.get_inputs()]
    assert ("token_type_ids" in names) == (kind == "bert")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    batch = tokenizer(TEXTS, return_tensors="np", padding=True)
    (found,) = session.run(None, {name: batch[name] for name in names})
    assert np.allclose(found, expected, atol=1e-4, rtol=1e-4)
    one = tokenizer(TEXTS[:1], return_tensors="np")
    (found,) = session.run(None, {name: one[name] for name in names})
    assert np.allclose(found, expected[:1], atol=1e-4, rtol=1e-4)
    found = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
    assert found == list(model.classes or ["value"])
    assert [path.name for path in (tmp_path / "out").glob("model.onnx*")] == ["model.onnx"]
    onnx.checker.check_model(tmp_path / "out/model.onnx")
    assert "session" in run_listing(tmp_path / "out")


@pytest.mark.parametrize(
    ("export", "given", "words"),
    [
        ("transformers", {"kinds": ("lora", "prefix", "adapter")}, "plan's adapter, prefix cannot"),
        ("sentence_transformers", {"kinds": ("prefix",) * 3}, "plan's prefix cannot be merged"),
        (
            "peft",
            {"kinds": ("lora", "adapter", None)},
            "allowed for peft: lora alone, or ia3 alone",
        ),
        ("transformers", {"pooling": "mean"}, "takes no head on mean pooling of a bert"),
        ("transformers", {"kind": "modernbert"}, "on cls pooling of a modernbert"),
        ("transformers", {"kind": "electra", "classes": 9}, "has 9 classes; allowed in this"),
    ],
)
def test_what_cannot_be_exported_is_said(make, tmp_path, export, given, words):
    with pytest.raises(fishpal.FishpalError) as caught:
        getattr(fishpal, f"export_{export}")(make(**given), tmp_path / "out")
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
