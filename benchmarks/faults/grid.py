"""Faults at seeded random moments of a grid on several workers, and what becomes of it.

    python -m benchmarks.faults.grid [--faults 60] [--seed 0]

Cells of a stand-in pipeline (`stand_in.py`) on two workers of dask.distributed, by the real `dvc`;
the cache and the workers' clones lie in a file system of their own. A grid is struck again and
again until it completes; then the main clone's `dvc repro` must find every cell in the cache, and
every output must have the bytes of a run of one clone alone.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from tqdm import tqdm

from benchmarks.faults import stand_in
from benchmarks.faults.report import Part, write_report
from benchmarks.faults.shared import SharedFolder
from benchmarks.toy.clone import ENV, Clone, outputs

WORKER, CELL, MAIN = "kill a worker", "kill a cell's process", "kill the main process"
SCHEDULER, TWO = "kill the scheduler", "two grids at once on one cache"
FULL, READ_ONLY, SLOW = "full shared folder", "read-only shared folder", "slow shared folder"
KINDS = (WORKER, CELL, MAIN, SCHEDULER, FULL, READ_ONLY, SLOW, TWO)
MEGABYTES = 300  # of the shared folder; clones and cache take about 60
MOST = 8  # faults until a grid is left alone to complete
LATEST = 8.0  # seconds after a cell has begun until which a fault may come
PATIENCE = 900.0  # seconds until a grid counts as hanging
INTRODUCTION = """\
Cells of a stand-in pipeline (its stages compute next to nothing, `benchmarks/faults/stand_in.py`)
on two workers of dask.distributed, driven by the real `dvc` (`make faults`); cache and workers'
clones lie in a file system of their own. A grid is struck again and again, at seeded random
moments, and run again until it completes. Then the main clone's `dvc repro` must find every cell
in the cache, with the bytes of a run of one clone alone."""


@dataclass
class Bench:
    """What grids start from, the bytes that they must end with, and what has been counted."""

    folder: Path
    shared: SharedFolder
    expected: dict[str, bytes]
    rng: random.Random
    part: Part = field(default_factory=lambda: Part("Faults of a grid", INTRODUCTION, KINDS))

    @property
    def template(self) -> Path:
        return self.folder / "template"


class Run:
    """`stages.run_grid` in a main clone of its own."""

    def __init__(self, bench: Bench, name: str, cache: Path) -> None:
        self.root, self.log = bench.folder / name, bench.folder / f"log-{name}"
        self.place = bench.shared.folder / f"grid-{name}"
        shutil.copytree(bench.template, self.root, symlinks=True)
        config = f"[cache]\n    dir = {cache}\n"
        (self.root / ".dvc" / "config.local").write_text(config)

    def start(self, *words: str) -> None:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "stages.run_grid", "--shared", str(self.place), *words],
                cwd=self.root, env=ENV | {"OMP_NUM_THREADS": "1"}, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def cells(self) -> list[psutil.Process]:
        """The cells' processes on workers; a cluster of its own may have started them."""
        return [p for p in psutil.process_iter() if "stages.grid.cell" in _words(p)
                and str(self.place) in " ".join(_words(p))]  # fmt: skip

    def has_begun(self) -> bool:
        """Wait for a cell on a worker; False where the grid has ended."""
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None and not self.cells():
            if time.monotonic() > end:
                raise RuntimeError(f"no cell begins: {self.said()[-2000:]}")
            time.sleep(0.2)
        return self.process.poll() is None

    def repro(self) -> tuple[bool, set[str]]:
        """Run the main clone's pipeline: whether it went well, and which stages really ran."""
        done = subprocess.run(
            [sys.executable, "-m", "dvc", "repro"], cwd=self.root, env=ENV, capture_output=True,
            text=True,
        )  # fmt: skip
        return done.returncode == 0, set(re.findall("Running stage '([^']+)'", done.stdout))


class Cluster:
    """A scheduler of dask with two workers, processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.processes = folder, list[subprocess.Popen[bytes]]()

    def start(self) -> str:
        self.stop()
        file = self.folder / "scheduler.json"
        file.unlink(missing_ok=True)
        cli = [sys.executable, "-m", "distributed.cli"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": self.folder}
        options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
        scheduler = [f"{cli[2]}.dask_scheduler", *options, "--scheduler-file", str(file)]
        workers = [f"{cli[2]}.dask_worker", "--scheduler-file", str(file), "--nworkers", "2",
                   "--nthreads", "1", "--no-dashboard"]  # fmt: skip
        for command in (scheduler, workers):
            self.processes.append(
                subprocess.Popen([*cli[:2], *command], env=ENV, start_new_session=True, **quiet)  # type: ignore[call-overload]
            )
            while not file.is_file() or not file.read_text().rstrip().endswith("}"):
                time.sleep(0.2)
        found = re.search('"address": "([^"]+)"', file.read_text())
        return found[1] if found else ""

    def stop(self) -> None:
        for process in self.processes:
            for child in [process, *psutil.Process(process.pid).children(recursive=True)]:
                with suppress(psutil.Error):
                    child.kill()
            process.wait()
        self.processes.clear()


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def strike(bench: Bench, run: Run, cluster: Cluster | None) -> str:
    """One fault of a random kind; its name, or nothing where there was nothing to hit."""
    own = [SCHEDULER] if cluster else [MAIN]
    disk = [FULL, READ_ONLY, SLOW] if bench.shared.mounted else []
    kind = bench.rng.choice([WORKER, WORKER, CELL, *own, *disk])
    seconds = bench.rng.uniform(1, 6)
    try:
        cell = bench.rng.choice(run.cells())
        if kind == WORKER:
            psutil.Process(cell.ppid()).kill()
        elif kind == CELL:
            bench.rng.choice([cell, *cell.children(recursive=True)]).kill()
    except (psutil.Error, IndexError):
        return ""
    if kind == MAIN:
        run.process.kill()
    elif kind == SCHEDULER and cluster:
        cluster.processes[0].kill()
    elif kind == FULL:
        bench.shared.fill(bench.rng.randrange(20_000))
        time.sleep(seconds)
        bench.shared.free()
    elif kind == READ_ONLY:
        if not bench.shared.read_only():
            return ""
        time.sleep(seconds)
        bench.shared.writable()
    elif kind == SLOW:
        bench.shared.freeze()
        time.sleep(seconds)
        bench.shared.thaw()
    return kind


def complete(bench: Bench, run: Run, cluster: Cluster | None, bar: Any) -> Counter[str]:
    """Run a grid again and again, struck until `MOST`; the faults that it had."""
    struck: Counter[str] = Counter()
    for _ in range(3 * MOST):
        run.start(*(["--scheduler", cluster.start()] if cluster else []))
        last = ""
        while run.has_begun() and sum(struck.values()) < MOST and last not in (MAIN, SCHEDULER):
            time.sleep(bench.rng.uniform(0, LATEST))
            last = strike(bench, run, cluster)
            struck[last] += bool(last)
            if last:
                bench.part.count(last, "faults")
                bar.update()
        with suppress(subprocess.TimeoutExpired):
            run.process.wait(PATIENCE)
        if run.process.poll() is None:
            bench.part.findings.append(f"after {last}: hangs: {run.said()[-200:]}")
            run.process.send_signal(signal.SIGTERM)
            run.process.wait()
        if run.process.returncode == 0:
            break
        if last != MAIN and "error: " not in run.said():
            bench.part.findings.append(f"after {last}: {run.said().strip()[-200:]}")
    return +struck


def judge(bench: Bench, run: Run, struck: Counter[str], cache: Path) -> None:
    """Count what became of a grid that says that it is done."""
    done = run.process.returncode == 0
    bad = [path for path in (cache / "files").rglob("*") if path.is_file() and not _is_whole(path)]
    went_well, ran = run.repro()
    kept_word = went_well and not {name for name in ran if name.startswith(("train", "evaluate"))}
    same = went_well and outputs(run.root) == bench.expected
    for kind, number in struck.items():
        bench.part.count(kind, "same", number * (done and same))
        bench.part.count(kind, "silent", number * (done and not (kept_word and same)))
    bench.part.count(max(struck, default=WORKER), "wrong", len(bad))
    if not (done and same and kept_word):
        said = f"done {done}, same {same}, ran {sorted(ran)}: {run.said().strip()[-300:]}"
        bench.part.findings.append(f"after {dict(struck)}: {said}")


def _is_whole(path: Path) -> bool:
    name = (path.parent.name + path.name).removesuffix(".dir")
    draft = not re.fullmatch("[0-9a-f]{32}", name)  # what DVC was writing under another name
    return draft or hashlib.md5(path.read_bytes()).hexdigest() == name


def chain(bench: Bench, number: int, bar: Any) -> None:
    """A grid, or two at once on one cache, on workers of its own or on a scheduler's."""
    cache = bench.shared.folder / f"cache{number}"
    shutil.copytree(bench.template / ".dvc" / "cache", cache)
    cluster = Cluster(bench.folder) if number % 3 == 1 else None
    runs = [Run(bench, f"main{number}", cache)]
    if number % 3 == 2:
        runs.append(Run(bench, f"other{number}", cache))
        runs[1].start()
        bench.part.count(TWO, "faults")
        bar.update()
    struck = complete(bench, runs[0], cluster, bar)
    judge(bench, runs[0], struck, cache)
    if cluster:
        cluster.stop()
    for run in runs[1:]:
        run.process.wait(PATIENCE)
        if run.process.returncode:  # what struck the first one's folder struck it, too
            run.start()
            run.process.wait(PATIENCE)
        judge(bench, run, Counter({TWO: 1}), cache)
    for path in [cache, *(place for run in runs for place in (run.root, run.place))]:
        shutil.rmtree(path, ignore_errors=True)


def make_template(folder: Path) -> dict[str, bytes]:
    """The clone that all others are copies of, its shared stages run; the bytes to end with."""
    root = folder / "template"
    root.mkdir()
    clone = Clone(root, warm=False)
    (root / "dvc.yaml").write_text(stand_in.PIPELINE)
    shutil.copy(str(stand_in.__file__), root / "stand_in.py")
    grid = {"tasks": ["toy"], "methods": ["lora", "adapter", "prefix"], "seeds": [0, 1]}
    clone.edit(lambda params: params.update(grid=grid))
    clone.dvc("repro", "encoder")
    for command in (["add", "-A"], ["commit", "-qm", "stand-in"]):
        clone.git(*command)
    calm = folder / "calm"
    shutil.copytree(root, calm, symlinks=True)
    subprocess.run(
        [sys.executable, "-m", "dvc", "repro"], cwd=calm, env=ENV, check=True, capture_output=True
    )
    return outputs(calm)


def main() -> None:
    parser = argparse.ArgumentParser(description="Strike a grid on several workers with faults.")
    parser.add_argument("--faults", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60)
    given = parser.parse_args()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fishpal-grid-faults-") as name:
        folder = Path(name)
        (folder / "shared").mkdir()
        shared = SharedFolder(folder / "shared", MEGABYTES)
        try:
            bench = Bench(folder, shared, make_template(folder), random.Random(given.seed))
            number = 0
            with tqdm(total=given.faults, desc="faults", disable=None) as bar:
                while (
                    bench.part.faults < given.faults
                    and time.monotonic() - begin < given.minutes * 60
                ):
                    chain(bench, number, bar)
                    number += 1
                    minutes = (time.monotonic() - begin) / 60
                    mounted = "was" if shared.mounted else "could not be"
                    bench.part.facts = (
                        f"Seed {given.seed}, {minutes:.0f} minutes, {number} grids; a file system"
                        f" {mounted} mounted."
                    )
                    write_report(bench.part)
        finally:
            shared.unmount()


if __name__ == "__main__":
    main()
