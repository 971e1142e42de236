"""Sources on the hub, by the hub's own libraries, from a server on the loopback interface."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any

import pandas as pd
import pytest
from transformers import AutoConfig, AutoModel

from benchmarks.toy.encoder import COMMON, save_tokenizer
from fishpal.params.load import load_params
from stages.runner import check_cell
from tests.exports.hub_server import Fault, Handler, Hub
from tests.project.closure import ROOT

PINNED, OTHER = "ab" * 20, "cd" * 20
ROWS = pd.DataFrame({"text": ["w1 w2", "w3"] * 20, "label": [0, 1] * 20})
MODEL = {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": bytes(range(250)) * 40}
# Both libraries wait for seconds between their tries; a wait's length is not what is tested.
FETCH = """
import json, sys, time
from pathlib import Path
wait = time.sleep
time.sleep = lambda seconds: wait(seconds / 100)
from fishpal.common.errors import FishpalError
from fishpal.params.catalog import Columns, HubTask
from fishpal.params.sections import HubEncoder
from fishpal.sources.encoder_files import fetch_encoder
from fishpal.tasks.rows import load_frames
found = {}
for name, revision in json.loads(sys.argv[1]):
    try:
        if name.startswith("datasets/"):
            source = HubTask(type="hub", path=name.partition("/")[2], revision=revision,
                             splits={"train": "train", "test": "test"})
            frames = load_frames(source, Columns(text=("text",), label="label"))
            found[name] = {split: frame.to_dict("list") for split, frame in frames.items()}
        else:
            source = HubEncoder(type="hub", name=name, revision=revision)
            fetch_encoder(source, Path("out") / name)
            found[name] = "here"
    except FishpalError as error:
        found[name] = str(error)
print(json.dumps(found))
"""


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def run(code: str, *arguments: str, url: str, place: Path) -> str:
    """In an interpreter of its own: the libraries read where the hub is when they are imported."""
    own = {"HF_ENDPOINT": url, "HF_HOME": str(place / "home"), "HF_HUB_DISABLE_XET": "1",
           "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_ETAG_TIMEOUT": "1", "OMP_NUM_THREADS": "1",
           "HF_HUB_DOWNLOAD_TIMEOUT": "1", "PYTHONPATH": str(ROOT), "NO_PROXY": "*"}  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=place, timeout=300,
                          env=os.environ | own, capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def fetch(url: str, place: Path, *names: str) -> dict[str, Any]:
    jobs = json.dumps([[name, PINNED] for name in names])
    return json.loads(run(FETCH, jobs, url=url, place=place).splitlines()[-1])


def parquet(frame: pd.DataFrame) -> bytes:
    frame.to_parquet(file := BytesIO())
    return file.getvalue()


def data_set(configs: dict[str, dict[str, pd.DataFrame]]) -> dict[str, bytes]:
    """Tables by configuration and split as the hub lays them out, and the card that says so."""
    files, lines = {}, ["---", "configs:"]
    for config, splits in configs.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        for split, frame in splits.items():
            lines += [f"  - split: {split}", f"    path: {config}/{split}-*"]
            files[f"{config}/{split}-00000-of-00001.parquet"] = parquet(frame)
    return files | {"README.md": "\n".join([*lines, "---", ""]).encode()}


def publish(hub: Hub, name: str, files: dict[str, bytes], fault: Fault | None = None) -> str:
    hub.files[name], hub.commits[name] = files, PINNED
    if fault is not None:
        hub.faults[name] = fault
    return name


def written(place: Path, name: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (place / "out" / name).iterdir()}


def test_pinned_sources_arrive_and_come_from_the_cache_again(hub, tmp_path):
    names = [
        publish(hub, "me/model", MODEL | {"evil.py": b"x", "pytorch_model.bin": b"x"}),
        publish(hub, "datasets/me/rows", data_set({"default": {"train": ROWS, "test": ROWS[:3]}})),
    ]
    rows = {"train": ROWS.to_dict("list"), "test": ROWS[:3].to_dict("list")}
    assert fetch(hub.url, tmp_path, *names) == dict(zip(names, ("here", rows), strict=True))
    assert written(tmp_path, "me/model") == MODEL
    resolved = [line for line in hub.asked if "/resolve/" in line]
    assert resolved and all(f"/resolve/{PINNED}/" in line for line in resolved)
    assert not [line for line in hub.asked if "evil" in line or "bin" in line]
    hub.asked.clear()
    assert fetch(hub.url, tmp_path, *names) == dict(zip(names, ("here", rows), strict=True))
    assert not [line for line in hub.asked if line.startswith("GET /cdn/")]
    hub.server_close()  # from now on connections are refused
    assert fetch(hub.url, tmp_path, *names) == dict(zip(names, ("here", rows), strict=True))


def status(code: int, **headers: str) -> Any:
    return lambda handler, data: handler.answer({"error": "said so"}, code, **headers)


def cut(handler: Handler, data: bytes) -> None:
    handler.answer(data, sent=len(data) // 2, ETag='"x"')


def longer(handler: Handler, data: bytes) -> None:
    handler.answer_file(handler.path.strip("/").split("/"), data, PINNED, extra=7)


def elsewhere(handler: Handler, data: bytes) -> None:
    handler.answer_file(handler.path.strip("/").split("/"), data, OTHER)


def stall(handler: Handler, data: bytes) -> None:
    time.sleep(3)


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
    "wrong_size": (Fault("/resolve/", longer), "10007 but has size 10000"),
    "stalled": (Fault("/tree/", stall), "timed out|Timeout"),
    "elsewhere": (Fault("/resolve/", elsewhere), OTHER),
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
    run(STAGES, *stages, url=hub.url, place=tmp_path)
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
