"""How long DVC takes over a grid of 36 cells: whose results are all there, and on workers.

    python -m benchmarks.grid [--tasks 6] [--workers 2]

A toy encoder and toy tasks, six methods, one seed; the grid is narrowed to one task and widened
again, which has to run no stage. Another clone computes the same grid on workers; its `dvc repro`
has to run the report alone. Writes `reports/grid.md`.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.toy.clone import Clone
from benchmarks.toy.project import task_entry, write_task
from benchmarks.toy.warm import warm_bin
from fishpal.common.files import write_text
from fishpal.reporting.markdown import table

METHODS = ("fishpal", "adapter", "lora", "prefix", "random", "head")
HEADER = ("step", "stages", "of these run", "from the run cache", "seconds", "dvc.lock, KB")


def make(root: Path, tasks: list[str]) -> Clone:
    """A clone with these tasks, nothing run yet."""
    root.mkdir()
    clone = Clone(root)
    clone.interpreter = sys.executable  # DVC is what is timed
    clone.timeout = 3600
    for seed, task in enumerate(tasks):
        write_task(root / "data" / task, seed)

    def change(params: dict[str, Any]) -> None:
        params["catalog"] = {task: task_entry(task) for task in tasks}
        params["grid"]["methods"] = list(METHODS)

    clone.edit(change)
    return clone


def step(clone: Clone, name: str, tasks: list[str]) -> list[str]:
    """Run the pipeline for these tasks, as `make report` does; a line of the table."""

    def change(params: dict[str, Any]) -> None:
        params["grid"]["tasks"] = tasks

    clone.edit(change)
    begin = time.perf_counter()
    clone.check()
    said = clone.dvc("repro")
    return row(clone, name, said, time.perf_counter() - begin)


def row(clone: Clone, name: str, said: str, seconds: float) -> list[str]:
    """What became of the stages, in DVC's words."""
    ran = len(re.findall("Running stage", said))
    cached = len(re.findall("is cached - skipping run", said))
    skipped = len(re.findall("didn't change, skipping", said))
    size = (clone.root / "dvc.lock").stat().st_size / 1000
    figures = [ran + cached + skipped, ran, cached, f"{seconds:.0f}", f"{size:.0f}"]
    return [name, *map(str, figures)]


def measure(root: Path, count: int) -> list[list[str]]:
    tasks = [f"task{number}" for number in range(count)]
    clone = make(root, tasks)
    return [
        step(clone, f"{count} tasks for the first time", tasks),
        step(clone, f"{count} tasks again", tasks),
        step(clone, "one task", tasks[:1]),
        step(clone, f"back to {count} tasks", tasks),
        step(clone, f"{count} tasks once more", tasks),
    ]


def on_workers(root: Path, count: int, workers: int) -> list[list[str]]:
    """The grid of a fresh clone on workers, then its own pipeline."""
    tasks = [f"task{number}" for number in range(count)]
    clone = make(root, tasks)
    clone.edit(lambda params: params["grid"].update(tasks=tasks))
    forks = ["--python", str(warm_bin() / "python")]  # as in the clone alone
    begin = time.perf_counter()
    said = clone.python("stages.run_grid", "--workers", str(workers), *forks)
    name = f"{count} tasks on {workers} workers: what cells share, here; then the cells, there"
    return [
        row(clone, name, said, time.perf_counter() - begin),
        step(clone, "`dvc repro` after it", tasks),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Time DVC over a grid of cells.")
    parser.add_argument("--tasks", type=int, default=6)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    count = given.tasks
    with tempfile.TemporaryDirectory(prefix="fishpal-grid-") as name:
        rows = measure(Path(name) / "alone", count)
        rows += on_workers(Path(name) / "workers", count, given.workers)
    text = [
        "# A large grid",
        f"{count} toy tasks × {len(METHODS)} methods × one seed, {count * len(METHODS)} cells, a"
        " tiny encoder; the checks of `make report` and `dvc repro` together. Stages run in forks"
        " of one process that has imported torch, so that it is DVC that is timed: a cell trains"
        " for a second or less, and the last two lines are what workers cost, not what they save.",
        table(HEADER, rows),
        f"{os.cpu_count()} cores, Python {platform.python_version()}, Linux.",
    ]
    write_text("reports/grid.md", "\n\n".join(text) + "\n")


if __name__ == "__main__":
    main()
