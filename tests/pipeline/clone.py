"""A copy of the project with a tiny encoder and tiny tasks, driven by the real `dvc`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertTokenizerFast

from tests.conftest import VOCAB, tiny_folder
from tests.project.closure import ROOT

METHODS = ("fishpal", "lora", "adapter")
YAML12 = YAML()
Change = Callable[[dict[str, Any]], None]


def words() -> list[str]:
    return ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *(f"w{i}" for i in range(VOCAB - 4))]


def save_tokenizer(folder: Path) -> None:
    """A word-level tokenizer over w0, w1, …"""
    vocabulary = {word: i for i, word in enumerate(words())}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )  # fmt: skip
    BertTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)


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


def task_entry(name: str) -> dict[str, object]:
    files = {split: f"data/{name}/{split}.jsonl" for split in ("train", "test")}
    return {
        "source": {"type": "files", "files": files},
        "columns": {"text": ["sentence"], "label": "label"},
        "labels": [0, 1],
        "sizes": {"fit": 40, "selection": 20, "evaluation": None},
        "metrics": ["accuracy", "f1"],
    }


class Clone:
    """A copy of the project with a pipeline of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in filter(None, names.split("\0")):
            if (ROOT / name).is_file() and name != "dvc.lock" and not name.startswith("reports/"):
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, root / name)
        tiny_folder("bert", root / "data" / "encoder")
        save_tokenizer(root / "data" / "encoder")
        write_task(root / "data" / "toy", seed=0)
        write_task(root / "data" / "other", seed=1)
        self.edit(self._small)
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "start"]):
            self.git(*command)

    @staticmethod
    def _small(params: dict[str, Any]) -> None:
        params["grid"] = {"tasks": ["toy"], "methods": list(METHODS), "seeds": [0]}
        params["encoder"] = {
            "source": {"type": "folder", "folder": "data/encoder"},
            "pooling": "mean",
        }
        params["catalog"] = {name: task_entry(name) for name in ("toy", "other")}
        params["fisher"]["examples"] = 16
        params["train"] |= {"epochs": 1, "batch_size": 8}
        params["modules"]["adapter"]["bottleneck"] = 4
        params["report"]["resamples"] = 50

    def edit(self, change: Change) -> None:
        path = self.root / "params.yaml"
        params = YAML12.load(path.read_text())
        change(params)
        with path.open("w") as file:
            YAML12.dump(params, file)

    def git(self, *command: str) -> None:
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        subprocess.run(["git", *identity, *command], cwd=self.root, check=True, capture_output=True)

    def dvc(self, *command: str, fails: bool = False) -> str:
        env = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        env |= {"TOKENIZERS_PARALLELISM": "false"}
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *command], cwd=self.root, env=env,
            capture_output=True, text=True, timeout=500,
        )  # fmt: skip
        assert (done.returncode != 0) == fails, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout + done.stderr if fails else done.stdout

    def repro(self) -> set[str]:
        """Reproduce; the stages that really ran."""
        return set(re.findall(r"Running stage '([^']+)'", self.dvc("repro")))

    @contextmanager
    def changed(self, change: Change) -> Iterator[set[str]]:
        """Reproduce with a changed params.yaml; go back after the block."""
        before = (self.root / "params.yaml").read_bytes()
        self.edit(change)
        try:
            yield self.repro()
        finally:
            (self.root / "params.yaml").write_bytes(before)

    def plan(self, method: str = "fishpal", task: str = "toy") -> Any:
        return json.loads((self.root / f"artifacts/plans/{task}/{method}.json").read_text())


def outputs(root: Path) -> dict[str, bytes]:
    """Every result but seconds and what shows them."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for folder in ("artifacts", "reports")
        for path in sorted((root / folder).rglob("*"))
        if path.is_file() and "seconds" not in path.parts and path.name != "results.md"
    }
