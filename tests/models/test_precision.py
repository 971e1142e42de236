"""Passes in reduced precision, whose frozen weights are cast once."""

from __future__ import annotations

import json

import pytest
import torch

from fishpal.common.errors import ParamsError
from fishpal.common.kinds import ModuleKind
from fishpal.models.batching import collate
from fishpal.models.precision import NATIVE, Passes, evaluation_precision, pick_precision
from fishpal.models.trained import TrainedCard, save
from fishpal.records.results import CellMetrics, Parameters
from tests.conftest import EVERY_TYPE, kinds_of, random_examples
from tests.models.test_frozen import TASK, model_of
from tests.modules.test_modules import shake

A, L, P = ModuleKind.ADAPTER, ModuleKind.LORA, ModuleKind.PREFIX


@pytest.mark.parametrize("kind", EVERY_TYPE)
def test_weights_cast_once_give_autocasts_bits(tiny_encoder, kind):
    """Against plain autocast, which casts them at every use; and they come back as they were."""
    model, _ = model_of(tiny_encoder(kind), (P, A, L))
    shake(list(model.candidates()))
    batch = collate(random_examples(5), 0)
    labels = batch.pop("labels")
    before = dict(model.named_parameters())

    def found(context):
        model.zero_grad()
        with context:
            logits = model(**batch)
        torch.nn.functional.cross_entropy(logits.float(), labels).backward()
        return [logits.detach(), *(p.grad for p in before.values() if p.grad is not None)]

    passes = Passes(model, "bfloat16")
    ours, plain = found(passes()), found(torch.autocast("cpu", torch.bfloat16))
    assert all(torch.equal(a, b) for a, b in zip(ours, plain, strict=True)) and len(ours) > 5
    with passes():
        inside = dict(model.named_parameters())
        cast = [name for name, p in inside.items() if p.dtype == torch.bfloat16]
        assert len(cast) > 10 and not any(before[name].requires_grad for name in cast)
    with pytest.raises(ZeroDivisionError), passes():
        1 / 0  # noqa: B018
    after = dict(model.named_parameters())
    assert after.keys() == before.keys() and all(after[n] is p for n, p in before.items())
    assert Passes(model, "float32")._own == []


@pytest.mark.parametrize("kind", EVERY_TYPE)
def test_bfloat16_computes_about_the_same(tiny_encoder, kind):
    """Of all kinds at once, whose products with float32 leave queries and scores in other types."""
    own = [each for each in kinds_of(kind) if each != ModuleKind.PREFIX]
    model, _ = model_of(tiny_encoder(kind), ("+".join(own), "+".join(kinds_of(kind)), "ia3"))
    model.eval()
    batch = collate(random_examples(9), 0)
    del batch["labels"]
    with torch.no_grad():
        expected = model(**batch)
        with Passes(model, "bfloat16")():
            found = model(**batch).float()
    assert torch.allclose(found, expected, atol=0.1 * float(expected.abs().max()))


def test_auto_takes_what_the_cpu_multiplies(monkeypatch):
    cpu = torch.device("cpu")

    def auto(**has):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
        return pick_precision("auto", cpu, "train.precision")

    assert auto(avx2=True, avx512_bf16=False) == "float32"
    assert [auto(**{name: True}) for name in NATIVE] == ["bfloat16"] * 2
    assert pick_precision("float32", cpu, "train.precision") == "float32"
    with pytest.raises(ParamsError, match="fisher.precision is float16 on a CPU; allowed there"):
        pick_precision("float16", cpu, "fisher.precision")


def test_torch_knows_these_names():
    """Of a CPU that has them, and of one that has not: the keys are there."""
    assert set(NATIVE) <= set(torch.cpu.get_capabilities())


def test_records_tell_the_precision_and_older_ones_keep_their_bytes(tiny_encoder, tmp_path):
    model, plan = model_of(tiny_encoder(), (None, None, L))
    for precision in ("float32", "bfloat16"):
        folder = tmp_path / precision
        save(model, plan, folder, task=TASK.facts, seed=0, best=1, precision=precision)
        assert TrainedCard.load(folder / "card.json").precision == precision
        metrics = CellMetrics({"test": {"n": 1}}, Parameters(1, 2, 3), precision, precision)
        metrics.save(tmp_path / "metrics.json")
        assert CellMetrics.load(tmp_path / "metrics.json") == metrics
        for path in (folder / "card.json", tmp_path / "metrics.json"):
            assert ("precision" in json.loads(path.read_text())) == (precision != "float32")


def test_evaluation_is_as_training_where_the_device_computes_it(monkeypatch):
    cpu = torch.device("cpu")
    for native, trained, found in (
        (True, "bfloat16", "bfloat16"),
        (True, "float32", "float32"),
        (True, "float16", "float32"),
        (False, "bfloat16", "float32"),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda n=native: {NATIVE[0]: n})
        assert evaluation_precision("trained", trained, cpu) == found
        assert evaluation_precision("float32", trained, cpu) == "float32"
