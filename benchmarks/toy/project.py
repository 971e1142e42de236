"""The files that a toy project consists of: data, encoder and params.yaml."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from benchmarks.toy.encoder import save_tokenizer, tiny_folder

ROOT = Path(__file__).resolve().parents[2]
METHODS = ("fishpal", "lora", "adapter")
TASKS = ("toy", "other")
YAML12 = YAML()
Change = Callable[[dict[str, Any]], None]


def write_task(folder: Path, seed: int) -> None:
    """JSON Lines whose label is decided by which words occur."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for split, count in (("train", 80), ("test", 30)):
        rows = []
        for _ in range(count):
            label = int(rng.integers(2))
            text = " ".join(f"w{int(i)}" for i in rng.integers(18 * label, 18 * label + 18, 5))
            rows.append(json.dumps({"sentence": text, "label": label}))
        (folder / f"{split}.jsonl").write_text("\n".join(rows) + "\n")


def task_entry(name: str) -> dict[str, Any]:
    """The catalog's entry of a task that `write_task` wrote to `data/<name>`."""
    files = {split: f"data/{name}/{split}.jsonl" for split in ("train", "test")}
    return {
        "source": {"type": "files", "files": files},
        "columns": {"text": ["sentence"], "label": "label"},
        "labels": [0, 1],
        "sizes": {"fit": 40, "selection": 20, "evaluation": None},
        "metrics": ["accuracy", "f1"],
    }


def small(params: dict[str, Any]) -> None:
    """Make params those of the toy project: a second or two a stage."""
    params["grid"] = {"tasks": ["toy"], "methods": list(METHODS), "seeds": [0]}
    params["encoder"] = {"source": {"type": "folder", "folder": "data/encoder"}, "pooling": "mean"}
    params["catalog"] = {name: task_entry(name) for name in TASKS}
    params["methods"]["fishpal"] = {"rule": "criterion", "criterion": None}
    params["fisher"]["examples"] = 16
    params["select"]["fallback"] = None
    params["train"] |= {"epochs": 1, "pilot": False, "batch_size": 8}
    params["train"]["learning_rate"] |= {"prefix": 0.01, "adapter": 0.005, "lora": 0.005}
    params["modules"]["adapter"]["bottleneck"] = 4
    params["report"]["resamples"] = 50


def edit_yaml(path: Path, change: Change) -> None:
    values = YAML12.load(path.read_text())
    change(values)
    with path.open("w") as file:
        YAML12.dump(values, file)


def write_encoder(folder: Path) -> None:
    """A tiny BERT and its tokenizer."""
    tiny_folder("bert", folder)
    save_tokenizer(folder)


def write_project(root: Path) -> None:
    """Data, encoder and the project's params.yaml, made small, in `root`."""
    write_encoder(root / "data" / "encoder")
    for seed, task in enumerate(TASKS):
        write_task(root / "data" / task, seed)
    (root / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    edit_yaml(root / "params.yaml", small)
