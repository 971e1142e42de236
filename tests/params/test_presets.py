"""Whole params files that ship with the project: valid, and what they claim to be."""

from __future__ import annotations

import pytest
from ruamel.yaml import YAML

from fishpal.common.kinds import ModuleKind
from fishpal.params.load import load_params
from tests.project.closure import ROOT

PRESETS = sorted((ROOT / "presets").glob("*.yaml"))


def keys(value: object, depth: int = 1) -> object:
    """The keys of the sections that dvc.yaml lists, down to what it names."""
    if not isinstance(value, dict) or not depth:
        return None
    return {key: keys(inner, depth - 1) for key, inner in value.items()}


@pytest.mark.parametrize("path", PRESETS, ids=lambda p: p.stem)
def test_a_preset_is_valid_and_complete(path):
    load_params(path)
    preset, default = (YAML(typ="safe").load(p.read_text()) for p in (path, ROOT / "params.yaml"))
    assert set(preset) == set(default)
    for section in ("tokenize", "modules", "head", "fisher", "select", "train", "report"):
        assert keys(preset[section]) == keys(default[section]), "DVC looks every key up"
    for entry in preset["catalog"].values():
        assert {"source", "columns", "labels", "sizes", "metrics"} <= set(entry)


def test_the_glue_preset_is_the_thesis_grid():
    params = load_params(ROOT / "presets" / "glue_roberta_base.yaml")
    assert params.grid.tasks == ("sst2", "mrpc", "mnli")
    assert params.grid.seeds == (11, 22, 88, 111)
    assert params.encoder.source.name == "FacebookAI/roberta-base"
    rates = params.train.learning_rate
    assert (rates.adapter, rates.lora, rates.prefix) == (1e-4, 5e-4, 2e-4)
    assert params.method("fishpal").learning_rate == 5e-4
    train, modules = params.train, params.modules
    assert (train.batch_size, train.epochs, train.schedule) == (16, 10, "polynomial")
    assert (train.warmup, train.weight_decay) == (0.06, 0.1)
    assert (modules.lora.rank, modules.lora.alpha, modules.adapter.bottleneck) == (8, 16, 48)
    assert (modules.prefix.length, modules.prefix.mid) == (10, 512)
    assert modules.prefix.reparameterize
    mnli = params.task("mnli")
    both = {"validation_matched", "validation_mismatched"}
    assert set(mnli.headline or ()) == both == set(mnli.source.splits) - {"train"}
    assert {m.kind for m in params.methods.values() if m.rule == "uniform"} == {
        ModuleKind.PREFIX,
        ModuleKind.ADAPTER,
        ModuleKind.LORA,
    }
