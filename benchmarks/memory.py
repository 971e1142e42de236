"""Peak memory and time of the stages as a data set grows, up to a million rows.

    python -m benchmarks.memory [--rows 10000 100000 1000000]

A tiny encoder, short texts, every stage in a process of its own. Writes `reports/memory.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.toy.encoder import WORDS as VOCABULARY
from benchmarks.toy.project import ROOT, edit_yaml, small, write_encoder
from fishpal.common.files import write_text
from fishpal.reporting.markdown import table

STAGES = ("download_task toy", "tokenize_task toy", "measure_fisher toy", "train_plan toy lora 0")
WORDS = 8  # a text
TRAINED = 20_000  # fit examples at most: training time grows with them, memory must not
GIB = 2**30


def write_rows(path: Path, rows: int, seed: int) -> None:
    """JSON Lines of random words; a few texts repeat and contradict each other, as real ones do."""
    rng = np.random.default_rng(seed)
    with path.open("w", encoding="utf-8") as file:
        for start in range(0, rows, 10_000):
            count = min(10_000, rows - start)
            words = rng.integers(len(VOCABULARY), size=(count, WORDS))
            for line, label in zip(words, rng.integers(2, size=count).tolist(), strict=True):
                text = " ".join(f"w{word}" for word in line)
                file.write(json.dumps({"sentence": text, "label": label}) + "\n")


def make_project(root: Path, rows: int) -> None:
    """A project of one task of that many rows, its encoder prepared."""
    write_encoder(root / "data" / "encoder")
    (root / "data" / "toy").mkdir()
    write_rows(root / "data/toy/train.jsonl", rows, 0)
    write_rows(root / "data/toy/test.jsonl", max(rows // 10, 100), 1)
    (root / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    edit_yaml(root / "params.yaml", _options)
    measure(root, "prepare_encoder")


def _options(params: dict[str, Any]) -> None:
    small(params)
    params["grid"]["methods"] = ["lora"]
    params["catalog"]["toy"]["sizes"] = {"fit": None, "selection": 500, "evaluation": None}
    params["fisher"]["examples"] = 64
    params["train"] |= {"batch_size": 64, "evaluations_per_epoch": 1}


def cut_fit(root: Path, size: int) -> None:
    """Tokenise again with a smaller fit part."""

    def change(params: dict[str, Any]) -> None:
        params["catalog"]["toy"]["sizes"]["fit"] = size

    edit_yaml(root / "params.yaml", change)
    measure(root, "tokenize_task toy")


def measure(root: Path, stage: str) -> tuple[float, float]:
    """Run a stage; its seconds and its peak resident memory in GiB.

    Raises:
        RuntimeError: where the stage fails.
    """
    module, *names = stage.split()
    command = [sys.executable, "-m", f"stages.{module}", *names]
    env = os.environ | {"PYTHONPATH": str(ROOT), "TOKENIZERS_PARALLELISM": "true"}
    begin = time.perf_counter()
    # not subprocess.run, which keeps no peak of the one child
    child = os.fork()
    if child == 0:
        os.chdir(root)
        os.execve(command[0], command, env)
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - begin
    if status != 0:
        raise RuntimeError(f"{stage} failed with {status}")
    return seconds, usage.ru_maxrss * 1024 / GIB  # Linux counts kibibytes


def lines(rows: Sequence[int]) -> Iterator[list[str]]:
    for number in tqdm(rows, "memory", disable=None):
        with tempfile.TemporaryDirectory(prefix="fishpal-memory-") as name:
            root = Path(name)
            make_project(root, number)
            for stage in STAGES:
                if stage.startswith("train"):
                    cut_fit(root, min(TRAINED, number // 2))
                    measure(root, "select_plan toy lora")
                seconds, peak = measure(root, stage)
                yield [stage.split()[0], f"{number:,}", f"{peak:.2f}", f"{seconds:.0f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description="Peak memory as a data set grows.")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    found = list(lines(parser.parse_args().rows))
    stages = [stage.split()[0] for stage in STAGES]
    found.sort(key=lambda line: stages.index(line[0]))
    text = [
        "# Memory",
        f"A task of so many rows of {WORDS} words in train and a tenth of that in test, a tiny"
        f" encoder; Fisher on 64 examples; training for one epoch on half of the rows, {TRAINED:,}"
        " at most. Peak resident memory of each stage's process, Python and its libraries"
        " included; below 0.33 GiB, what the starting process holds, nothing is seen.",
        table(["stage", "rows", "peak GiB", "seconds"], found),
        f"{os.cpu_count()} cores, Python {platform.python_version()}, Linux.",
    ]
    write_text("reports/memory.md", "\n\n".join(text) + "\n")


if __name__ == "__main__":
    main()
