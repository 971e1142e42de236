"""`modules.prefix.start: text` through the stages, and in memory."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel

import fishpal
from benchmarks.toy.project import edit_yaml
from fishpal.params.load import load_params
from fishpal.records.pilot import Pilot
from fishpal.records.task import TokenisedTask
from tests.api.conftest import measured_as_stages
from tests.stages.toy_project import run_stage

STAGES = ["measure_fisher toy", "run_pilot toy", "select_plan toy mixed", "train_plan toy mixed 1"]
OUTPUTS = ("fisher/toy.json", "fisher/toy.safetensors", "pilot/toy.json", "plans/toy/mixed.json",
           "trained/toy/mixed/1/modules.safetensors")  # fmt: skip


def from_text(params: dict[str, Any]) -> None:
    params["modules"]["prefix"] = {"length": 6, "lengths": [4, 6], "start": "text"}
    params["methods"]["mixed"] = {"rule": "uniform", "kind": "prefix", "size": 4}
    params["grid"] |= {"methods": ["mixed"], "seeds": [1]}
    params["train"] |= {"pilot": True, "learning_rate": {"prefix": 1e-6, "head": 1e-6}}


@pytest.fixture(scope="module")
def root(project, tmp_path_factory):
    """The toy project, run with prefixes from text."""
    root = shutil.copytree(project, tmp_path_factory.mktemp("text") / "project")
    edit_yaml(root / "params.yaml", from_text)
    for stage in STAGES:
        log = root.parent / "log"
        assert run_stage(root, stage, log) == 0, f"{stage}: {log.read_text()}"
    return root


def test_a_cell_starts_from_a_text_of_the_fit_part(root):
    """At a rate of next to nothing what was trained is the start: transformers' keys and values."""
    encoder = root / "artifacts/encoder"
    limits = fishpal.load_encoder(encoder).limits
    fit = TokenisedTask.load(root / "artifacts/tokens/toy", limits).fit
    order = np.random.default_rng(1).permutation(len(fit)).tolist()
    ids = [token for row in order for token in fit[row].input_ids][:4]
    model = AutoModel.from_pretrained(encoder, attn_implementation="eager").eval()
    with torch.no_grad():
        states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states
        found = load_file(root / "artifacts/trained/toy/mixed/1/modules.safetensors")
        for number, layer in enumerate(model.encoder.layer):
            for name in ("key", "value"):
                start = getattr(layer.attention.self, name)(states[number][0])
                kept = found[f"{number}.prefix.{name}"]
                torch.testing.assert_close(kept, start, rtol=0, atol=1e-3)
    pilot = Pilot.load(root / "artifacts/pilot/toy.json")
    assert {"prefix-4", "prefix-6"} <= {arm.kind for arm in pilot.arms}


def test_the_same_params_give_the_same_bytes_in_memory_too(root, tmp_path, monkeypatch):
    before = {name: (root / "artifacts" / name).read_bytes() for name in OUTPUTS}
    shutil.rmtree(root / "artifacts/checkpoints/finished")  # else it is taken over
    for stage in STAGES:
        assert run_stage(root, stage, tmp_path / "log") == 0
    assert {name: (root / "artifacts" / name).read_bytes() for name in OUTPUTS} == before
    monkeypatch.chdir(root)
    params = load_params()
    encoder, task, measured = measured_as_stages(params)
    measured.table.save(tmp_path / "fisher")
    measured.pilot.save(tmp_path / "pilot")
    assert (tmp_path / "fisher").read_bytes() == before["fisher/toy.json"]
    assert (tmp_path / "pilot").read_bytes() == before["pilot/toy.json"]
    plan = fishpal.select(measured, params.method("mixed"), params.select)
    model = fishpal.fit(encoder, task, plan, 1, params.train, params.head)
    model.save(tmp_path / "model")
    mine = load_file(tmp_path / "model/modules.safetensors")
    theirs = load_file(root / "artifacts/trained/toy/mixed/1/modules.safetensors")
    assert set(mine) == set(theirs) and all(torch.equal(mine[name], theirs[name]) for name in mine)
    texts = [f"w{i} w{i + 1}" for i in range(0, 30, 3)]
    again = fishpal.load_model(tmp_path / "model")
    assert np.array_equal(again.logits(texts), model.logits(texts))
