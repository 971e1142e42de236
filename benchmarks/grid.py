"""How long DVC takes over a grid of 42 cells whose results are all there.

    python -m benchmarks.grid [--tasks 7]

A toy encoder and toy tasks, six methods, one seed; the grid is narrowed to one task and widened
again, which has to run no stage. Writes `reports/grid.md`.
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
from fishpal.common.files import write_text
from fishpal.reporting.markdown import table

METHODS = ("fishpal", "adapter", "lora", "prefix", "random", "head")
HEADER = ("step", "stages", "of these run", "from the run cache", "seconds", "dvc.lock, KB")


def make(root: Path, tasks: list[str]) -> Clone:
    """A clone with these tasks, nothing run yet."""
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
    seconds = time.perf_counter() - begin
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


def main() -> None:
    parser = argparse.ArgumentParser(description="Time DVC over a grid of cells.")
    parser.add_argument("--tasks", type=int, default=7)
    count = parser.parse_args().tasks
    with tempfile.TemporaryDirectory(prefix="fishpal-grid-") as name:
        rows = measure(Path(name), count)
    text = [
        "# A large grid",
        f"{count} toy tasks × {len(METHODS)} methods × one seed, {count * len(METHODS)} cells, a"
        " tiny encoder; the checks of `make report` and `dvc repro` together. Stages run in forks"
        " of one process that has imported torch, so the first line is no measure of training.",
        table(HEADER, rows),
        f"{os.cpu_count()} cores, Python {platform.python_version()}, Linux.",
    ]
    write_text("reports/grid.md", "\n\n".join(text) + "\n")


if __name__ == "__main__":
    main()
