"""Seconds of training in one process and in two that share every batch, and what they end with.

    python -m benchmarks.processes [--precisions float32 bfloat16] [--updates 40] [--rounds 3]

Needs the default pipeline's artifacts (`make report`) and an idle machine, since it is wall-clock
time that more processes are to save. LoRA at every layer, every way started anew in every round,
in turns; the updates alone are timed. `reports/benchmarks.md` gets a part of its own.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tqdm import tqdm

from benchmarks.report import machine, write_part
from benchmarks.training import start_run
from benchmarks.work import BATCH_SIZE, WARM, Work
from fishpal.reporting.markdown import table

WAYS = {"one": (1, 1), "threads": (1, 2), "two": (2, 1)}  # processes, and threads of each
NAMES = {
    "one": "one process, one thread",
    "threads": "one process, two threads",
    "two": "two processes, a thread each",
}
TOLERANCE = 1e-4  # of a weight: gradients are summed in another order


@dataclass(frozen=True)
class Outcome:
    """Wall-clock seconds of the updates, and the weights after them."""

    seconds: float
    weights: dict[str, torch.Tensor]


def train_share(work: Work, path: Path) -> None:
    """In each of the processes: train the work; the main one leaves seconds and weights."""
    run = start_run(work, encoder_dropout=False)
    begin = 0.0
    for update, batch in enumerate(work.batches):
        if update == WARM:
            begin = time.perf_counter()
        run.step([work.examples[row] for row in batch], batch, (0, update))
    seconds = time.perf_counter() - begin
    if run.processes.main:
        weights = {n: p.detach() for n, p in run.model.named_parameters() if p.requires_grad}
        save_file(weights, path, {"seconds": str(seconds)})


def launch(way: str, given: list[str]) -> Outcome:
    """Start the way's processes, and read what they left."""
    count, threads = WAYS[way]
    starter = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    env = os.environ | {"OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        command = ["-m", "benchmarks.processes", "--share", str(path), *given]
        full = [sys.executable, *(starter if count > 1 else []), *command]
        subprocess.run(full, env=env, check=True, stderr=subprocess.DEVNULL)
        with safe_open(path, "pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return Outcome(float(file.metadata()["seconds"]), weights)


def furthest(found: Outcome, other: Outcome) -> float:
    """The largest difference of a weight."""
    pairs = ((tensor, other.weights[name]) for name, tensor in found.weights.items())
    return max(float((one - two).abs().max()) for one, two in pairs)


def lines(found: dict[str, list[Outcome]], precision: str, examples: int) -> list[list[str]]:
    rows, alone = [], found["one"]
    for way, runs in found.items():
        seconds = [run.seconds for run in runs]
        ratios = sorted(a.seconds / s for a, s in zip(alone, seconds, strict=True))
        middle = statistics.median(seconds)
        spread = f"{min(seconds):.1f} to {max(seconds):.1f}"
        times = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        apart = f"{furthest(alone[0], runs[0]):.1e}"
        figures = [f"{middle:.1f} ({spread})", f"{examples / middle:.0f}", times, apart]
        rows.append([precision, NAMES[way], *figures])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Training in one process and in two.")
    parser.add_argument("--task", default="movies")
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--updates", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--share", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.share:
        path, *work = given.share
        train_share(Work.of("lora", *work), Path(path))
        return
    rows: list[list[str]] = []
    examples = Work.of("lora", "float32", given.task, str(given.updates)).measured
    for precision in tqdm(given.precisions, desc="precisions", disable=None):
        found: dict[str, list[Outcome]] = {way: [] for way in WAYS}
        for _ in range(given.rounds):
            for way in WAYS:
                found[way].append(launch(way, [precision, given.task, str(given.updates)]))
        rows += lines(found, precision, examples)
    header = ["precision", "way", "seconds", "examples/s", "times as fast", "weights apart by"]
    text = (
        f"{examples} examples of `{given.task}` in batches of {BATCH_SIZE}, LoRA at every layer of"
        f" the embedded encoder; wall-clock seconds on {machine()}; torch {torch.__version__}."
        f" Median of {given.rounds} rounds (range). The last column is the largest difference of a"
        f" trained weight to one process and one thread after {WARM + given.updates} updates"
        f" (in float32 at most {TOLERANCE:.0e} is wanted).\n\n"
    )
    write_part("Benchmarks of several processes", text + table(header, rows) + "\n")


if __name__ == "__main__":
    main()
