"""Exported folders, loaded by the libraries that they are for."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

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
from fishpal.params.module_options import LoraOptions
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


@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_sentence_transformers_of_a_decoder(make, tmp_path, kind, pooling):
    model = make(kind, pooling, classes=3)
    fishpal.export_sentence_transformers(model, tmp_path / "out")
    found = SentenceTransformer(str(tmp_path / "out"), device="cpu").encode(TEXTS)
    expected = expected_of(model)
    assert len(np.unique(expected, axis=0)) == len(TEXTS)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_tokenizer_that_others_load_otherwise_is_named(make, tmp_path):
    """Of qwen2 transformers takes its own class, whatever the folder's tokenizer is."""
    with pytest.warns(fishpal.FishpalWarning, match="texts are cut as the file says"):
        model = make("qwen2", "last", classes=3)
    with pytest.warns(fishpal.FishpalWarning, match="out: .* elsewhere texts are cut otherwise"):
        fishpal.export_sentence_transformers(model, tmp_path / "out")


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


@torch.no_grad()
def beside(model, folder, dtype=torch.float32):
    """Logits of peft's model of the bare encoder, mean pooling and the head beside."""
    base = AutoModel.from_pretrained(model.encoder.folder)
    loaded = PeftModel.from_pretrained(base, folder).to(dtype)
    batch = AutoTokenizer.from_pretrained(folder)(TEXTS, return_tensors="pt", padding=True)
    hidden = loaded.eval()(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1)
    pooled = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
    head = {n: t.to(dtype) for n, t in load_file(folder / "head.safetensors").items()}
    return (pooled @ head["weight"].T + head["bias"]).numpy()


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("module", ["lora", "ia3"])
@pytest.mark.parametrize("kind", ["bert", "modernbert"])
def test_peft_with_the_head_beside(make, tmp_path, kind, module, classes):
    """A regression's in its label's own unit."""
    model = make(kind, "mean", kinds=(module, module, None), classes=classes)
    fishpal.export_peft(model, tmp_path / "out")
    found = beside(model, tmp_path / "out")
    assert np.allclose(found, expected_of(model), atol=1e-4, rtol=1e-5)


MIXED = [("lora-2", "lora-8", "lora-4"), ("lora-8", "lora-4", "lora-2"), ("lora", None, "lora-2")]


@pytest.mark.parametrize("layers", MIXED, ids=lambda words: "+".join(map(str, words)))
@pytest.mark.parametrize(
    ("kind", "pooling", "lora"),
    [
        ("bert", "cls", LoraOptions()),
        ("bert", "mean", LoraOptions()),
        ("bert", "mean", LoraOptions(rslora=True)),
        ("modernbert", "mean", LoraOptions(sites="all")),  # three at one linear, among others
    ],
)
def test_peft_of_several_ranks(make, tmp_path, kind, pooling, lora, layers):
    """A LoRA's scale is alpha over its own rank, and so another one in each size.

    In float64: random weights make float32 round by up to 1e-4 here.
    """
    model, out = make(kind, pooling, layers, classes=3, lora=lora), tmp_path / "out"
    fishpal.export_peft(model, out)
    if pooling == "mean":
        found = beside(model, out, torch.float64)
    else:
        auto = AutoModelForSequenceClassification
        base = auto.from_pretrained(model.encoder.folder, num_labels=3)
        found = logits_of(PeftModel.from_pretrained(base, out).double(), out)
    exact = model.copy(full=True)
    exact.module.double()
    np.testing.assert_allclose(found, expected_of(exact), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "pooling", "kinds", "classes"),
    [
        ("bert", "mean", ("prefix", "bias", "lora"), 3),
        ("modernbert", "cls", ("ia3", "adapter", "prefix"), 1),
        ("deberta-v2", "mean", ("prefix", "adapter", "lora+ia3"), 3),
        ("gpt2", "last", ("prefix", None, "lora"), 3),
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
    here = str(Path(fishpal.__file__).parent).encode()
    assert here not in (tmp_path / "out/model.onnx").read_bytes(), "no stack traces of ours"
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
        ("transformers", {"classes": 1, "around": 1e9}, "the labels are 1e+09 ± 2.54"),
        ("sentence_transformers", {"classes": 1, "around": 1e9}, "allowed: labels less their mean"),
        ("onnx", {"classes": 1, "around": 1e9}, "which float32 rounds away"),
    ],
)
def test_what_cannot_be_exported_is_said(make, tmp_path, export, given, words):
    with pytest.raises(fishpal.FishpalError) as caught:
        getattr(fishpal, f"export_{export}")(make(**given), tmp_path / "out")
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


WRITERS = {
    "save": fishpal.Model.save,
    "peft": fishpal.export_peft,
    "peft of a module": lambda model, folder: fishpal.export_peft(model.module, folder),
    "transformers": fishpal.export_transformers,
    "sentence-transformers": fishpal.export_sentence_transformers,
    "onnx": fishpal.export_onnx,
}


def refused(write, model, folder, words):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(fishpal.FishpalError) as caught:
        write(model, folder)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("writer", WRITERS)
def test_only_what_the_same_function_wrote_is_replaced(make, tmp_path, writer):
    model, write, out = make(), WRITERS[writer], tmp_path / "out"
    out.mkdir()
    write(model, out)  # into an empty folder
    names = sorted(path.name for path in out.iterdir())
    write(model, out)
    assert sorted(path.name for path in out.iterdir()) == names
    other = fishpal.export_onnx if writer == "save" else fishpal.Model.save
    refused(other, model, out, "holds files of others, as")
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "README.md").write_text("---\ntags:\n- fishpal\n---\n\n# Mine")
    refused(write, model, notes, "holds files of others, as README.md; allowed: a new or empty")
    model.encoder.model.save_pretrained(tmp_path / "theirs")
    refused(write, model, tmp_path / "theirs", "holds files of others, as config.json")
    for folder in (model.encoder.folder, model.encoder.folder.parent):
        refused(write, model, folder, f"{folder}: is where the encoder {model.encoder.folder} lies")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes", "out", "theirs"]


def test_an_encoder_that_was_an_export_is_not_replaced(make, tmp_path):
    write, out = fishpal.export_sentence_transformers, tmp_path / "out"
    write(make(), out)
    refused(write, make(fishpal.load_encoder(out, "cls")), out, "is where the encoder")
