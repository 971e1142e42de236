"""A model and a data set as a hub holds them."""

from __future__ import annotations

from io import BytesIO

import pandas as pd

from benchmarks.toy.hub_faults import Fault
from benchmarks.toy.hub_listing import Files
from benchmarks.toy.hub_server import Hub

PINNED, OTHER = "ab" * 20, "cd" * 20
ROWS = pd.DataFrame({"text": ["w1 w2", "w3"] * 20, "label": [0, 1] * 20})
MODEL = {
    "config.json": b'{"of": "the model"}',  # of the same bytes only one would be fetched
    "tokenizer.json": b'{"of": "words"}',
    "tokenizer_config.json": b'{"of": "their use"}',
    "model.safetensors": bytes(range(250)) * 40,
}


def parquet(frame: pd.DataFrame) -> bytes:
    frame.to_parquet(file := BytesIO())
    return file.getvalue()


def data_set(configs: dict[str, dict[str, pd.DataFrame]]) -> Files:
    """Tables by configuration and split as the hub lays them out, and the card that says so."""
    files, lines = {}, ["---", "configs:"]
    for config, splits in configs.items():
        lines += [f"- config_name: {config}", "  data_files:"]
        for split, frame in splits.items():
            lines += [f"  - split: {split}", f"    path: {config}/{split}-*"]
            files[f"{config}/{split}-00000-of-00001.parquet"] = parquet(frame)
    return files | {"README.md": "\n".join([*lines, "---", ""]).encode()}


def publish(hub: Hub, name: str, files: Files, fault: Fault | None = None) -> str:
    """Put files onto the hub, pinned at `PINNED`; the name."""
    hub.files[name], hub.commits[name] = files, PINNED
    if fault is not None:
        hub.faults[name] = fault
    return name
