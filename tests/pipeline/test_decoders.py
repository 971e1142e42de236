"""A decoder, saved by transformers, runs through every stage; params.yaml alone says so."""

from __future__ import annotations

import json
from typing import Any

import pytest

from benchmarks.toy.encoder import save_tokenizer, tiny_folder
from benchmarks.toy.project import edit_yaml, write_project
from fishpal.records.plan import Plan
from tests.conftest import LAYERS, kinds_of
from tests.stages.toy_project import run_stage

METHODS = {
    "fishpal": {"rule": "criterion"},
    "lora": {"rule": "uniform", "kind": "lora"},
    "ia3": {"rule": "uniform", "kind": "ia3"},
    "bitfit": {"rule": "uniform", "kind": "bias"},
}


@pytest.mark.parametrize("kind", ["qwen3", "gpt2"])
def test_a_decoder_runs_the_whole_pipeline(tmp_path, kind):
    root, kinds = tmp_path / "project", kinds_of(kind)
    methods = [m for m, rule in METHODS.items() if rule.get("kind", "lora") in kinds]

    def decoder(params: dict[str, Any]) -> None:
        params["encoder"]["pooling"] = "last"
        params["methods"] = {method: dict(METHODS[method]) for method in methods}
        params["grid"]["methods"] = methods
        params["fisher"]["kinds"] = [kind.value for kind in kinds]
        params["modules"]["lora"] = {"rank": 2, "sites": "all"}

    write_project(root)
    edit_yaml(root / "params.yaml", decoder)
    tiny_folder(kind, root / "data" / "encoder")
    save_tokenizer(root / "data" / "encoder", pad_token=None, eos_token="[SEP]")
    stages = ["checks.params", "prepare_encoder", "download_task toy", "tokenize_task toy"]
    stages += ["measure_fisher toy", "run_pilot toy", *(f"select_plan toy {m}" for m in methods)]
    stages += [f"{stage} toy {m} 0" for stage in ("train_plan", "evaluate_plan") for m in methods]
    for stage in [*stages, "write_report"]:
        assert run_stage(root, stage, tmp_path / "log") == 0, (tmp_path / "log").read_text()
    plan = Plan.load(root / "artifacts/plans/toy" / f"{methods[-1]}.json")
    assert plan.layers == (METHODS[methods[-1]]["kind"],) * LAYERS
    found = json.loads((root / "reports" / "metrics.json").read_text())["toy"]
    assert set(found) == set(methods)
