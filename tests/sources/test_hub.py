"""Sources on the hub, by the hub's own libraries, from a server on the loopback interface."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pandas as pd
import pytest
from transformers import AutoConfig, AutoModel

from benchmarks.toy.encoder import COMMON, save_tokenizer
from benchmarks.toy.hub_faults import Fault, cut, elsewhere, longer, stall, status
from benchmarks.toy.hub_fetch import fetch, hub_environment, written
from benchmarks.toy.hub_files import MODEL, OTHER, PINNED, ROWS, data_set, publish
from benchmarks.toy.hub_server import Hub
from fishpal.params.load import load_params
from stages.runner import check_cell
from tests.project.closure import ROOT


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        yield server


def check_written(place: Path) -> None:
    assert written(place, "me/model") == MODEL
    rows = written(place, "datasets/me/rows")
    assert set(rows) == {"train.parquet", "test.parquet", "card.json"}
    for split, sent in {"train": ROWS, "test": ROWS[:3]}.items():
        got = pd.read_parquet(BytesIO(rows[f"{split}.parquet"]))
        assert got.to_dict("list") == sent.to_dict("list")


def test_pinned_sources_arrive_and_come_from_the_cache_again(hub, tmp_path):
    names = [
        publish(hub, "me/model", MODEL | {"evil.py": b"x", "pytorch_model.bin": b"x"}),
        publish(hub, "datasets/me/rows", data_set({"default": {"train": ROWS, "test": ROWS[:3]}})),
    ]
    assert fetch(hub.url, tmp_path, *names) == dict.fromkeys(names, "here")
    check_written(tmp_path)
    resolved = [line for line in hub.asked if "/resolve/" in line]
    assert resolved and all(f"/resolve/{PINNED}/" in line for line in resolved)
    assert not [line for line in hub.asked if "evil" in line or "bin" in line]
    hub.asked.clear()
    shutil.rmtree(tmp_path / "out")
    assert fetch(hub.url, tmp_path, *names) == dict.fromkeys(names, "here")
    assert not [line for line in hub.asked if line.startswith("GET /cdn/")]
    hub.stop()  # from now on connections are refused
    shutil.rmtree(tmp_path / "out")
    assert fetch(hub.url, tmp_path, *names) == dict.fromkeys(names, "here")
    check_written(tmp_path)


ONCE = {  # a retry that succeeds
    "limited": Fault("/tree/", status(429, Retry_After="1"), 1),
    "broken_once": Fault("/tree/", status(500), 2),
    "cut": Fault("/cdn/", cut, 2),
    "stalled_once": Fault("/cdn/", stall, 1),
}
FAULTS = {  # one line
    "unauthorized": (Fault("", status(401)), "401 .*; allowed: .*HF_TOKEN"),
    "forbidden": (Fault("", status(403)), "403 .*; allowed: .*HF_TOKEN"),
    "limited": (Fault("", status(429, Retry_After="1")), "429 .*; allowed: .*later"),
    "broken": (Fault("", status(500)), "500 .*; allowed: .*later"),
    "wrong_size": (Fault("HEAD .*safetensors", longer), "10007 but has size 10000"),
    "stalled": (Fault("/tree/", stall), "timed out|Timeout"),
    "elsewhere": (Fault("/resolve/", elsewhere(OTHER)), OTHER),
    "elsewhere_once": (Fault("HEAD .*/tokenizer_config", elsewhere(OTHER), 1), OTHER),
    "elsewhere_alike": (Fault("GET .*/tokenizer_config", elsewhere(OTHER), 1), OTHER),
}


def test_a_passing_fault_is_tried_again(hub, tmp_path):
    names = [publish(hub, f"me/{name}", MODEL, fault) for name, fault in ONCE.items()]
    assert fetch(hub.url, tmp_path, *names) == dict.fromkeys(names, "here")
    for name in names:
        assert written(tmp_path, name) == MODEL
    assert all(fault.times == 0 for fault in ONCE.values())


def test_a_lasting_fault_is_one_line_and_leaves_nothing(hub, tmp_path):
    rows = data_set({"default": {"train": ROWS, "test": ROWS}})
    names = {publish(hub, f"me/{name}", MODEL, f): said for name, (f, said) in FAULTS.items()}
    names |= {
        publish(hub, f"datasets/me/{name}", rows, FAULTS[name][0]): FAULTS[name][1]
        for name in ("unauthorized", "broken")
    }
    mixed, flipped = "datasets/me/mixed", ROWS.assign(label=1 - ROWS["label"])
    names[publish(hub, mixed, rows, Fault("HEAD .*/train-", elsewhere(OTHER), 1))] = OTHER
    hub.others[mixed, OTHER] = data_set({"default": {"train": flipped, "test": flipped}})
    names |= {"no/such": "404 .*; allowed: .*HF_TOKEN", "datasets/no/such": "exist.*HF_TOKEN"}
    found = fetch(hub.url, tmp_path, *names)
    for name, said in names.items():
        assert re.search(said, found[name]), found[name]
        kind = "data set" if name.startswith("datasets/") else "model"
        assert found[name].startswith(f"hub {kind} {name.removeprefix('datasets/')}: ")
        assert "\n" not in found[name] and len(found[name]) < 500
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


STAGES = """
import runpy, sys
for command in sys.argv[1:]:
    module, *sys.argv[1:] = command.split()
    runpy.run_module(f"stages.{module}", run_name="__main__")
"""
ROBERTA, GLUE = "FacebookAI/roberta-base", "datasets/nyu-mll/glue"


def glue(text: tuple[str, ...], classes: int, *splits: str) -> dict[str, pd.DataFrame]:
    """Tables of 200 rows each; the test split has no labels, as GLUE's."""
    cells = {name: [f"w{i % 30} w{(i + len(name)) % 29}" for i in range(200)] for name in text}
    frame = pd.DataFrame(cells | {"label": [i % classes for i in range(200)], "idx": range(200)})
    return dict.fromkeys(("train", *splits), frame) | {"test": frame.assign(label=-1)}


def test_the_glue_preset_fetches_and_tokenises(hub, tmp_path):
    """A tiny RoBERTa and tiny tables at the preset's own names and revisions."""
    preset = ROOT / "presets" / "glue_roberta_base.yaml"
    (tmp_path / "params.yaml").write_bytes(preset.read_bytes())
    params = load_params(preset)
    config = AutoConfig.for_model("roberta", **COMMON | {"max_position_embeddings": 140})
    AutoModel.from_config(config).save_pretrained(tmp_path / "tiny")
    save_tokenizer(tmp_path / "tiny")
    publish(hub, ROBERTA, {p.name: p.read_bytes() for p in (tmp_path / "tiny").iterdir()})
    two, pairs = ("sentence1", "sentence2"), ("premise", "hypothesis")
    both = ("validation_matched", "validation_mismatched")
    tables = {
        "sst2": glue(("sentence",), 2, "validation"),
        "mrpc": glue(two, 2, "validation"),
        "mnli": glue(pairs, 3, *both),
    }
    publish(hub, GLUE, data_set(tables))
    hub.commits |= {ROBERTA: params.encoder.source.revision}
    hub.commits |= {GLUE: params.task("mnli").source.revision}
    tasks = params.grid.tasks
    stages = ["checks.params", "prepare_encoder", *(f"download_task {task}" for task in tasks)]
    stages += [f"tokenize_task {task}" for task in tasks]
    done = subprocess.run(
        [sys.executable, "-c", STAGES, *stages], cwd=tmp_path, timeout=300,
        env=hub_environment(hub.url, tmp_path), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    for task in tasks:
        source = params.task(task).source
        card = json.loads((tmp_path / f"artifacts/raw/{task}/card.json").read_text())
        assert set(card["splits"]) == set(source.splits)
        for split in source.splits:
            raw = pd.read_parquet(tmp_path / f"artifacts/raw/{task}/{split}.parquet")
            sent = tables[task][split]
            assert raw["text"].tolist() == sent[params.task(task).columns.text[0]].tolist()
            assert raw["label"].tolist() == sent["label"].tolist()
        assert (tmp_path / f"artifacts/tokens/{task}/train/fit.arrow").is_file()
        for method in params.grid.methods:
            check_cell(params, task, method)
    assert (tmp_path / "artifacts/encoder/model.safetensors").read_bytes() == (
        hub.files[ROBERTA]["model.safetensors"]
    )
