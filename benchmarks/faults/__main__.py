"""Faults at seeded random moments of a small pipeline, and what becomes of it.

    python -m benchmarks.faults.__main__ [--faults 100] [--seed 0]

A tiny encoder and a toy task in temporary clones, driven by the real `dvc`. A clone's pipeline is
struck again and again until it completes; then stored artifacts are damaged. Whenever a run says
that it is done, every output must have the bytes of an undisturbed run. `reports/faults.md` gets
the table.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.faults.clone import prepare
from benchmarks.faults.kinds import DISK, NETWORK, RUNNING, STORED, Disk, damage, strike
from benchmarks.faults.package_index import PackageIndex
from benchmarks.faults.report import Part, write_report
from benchmarks.toy.clone import ENV, outputs

MEGABYTES = 400  # of the small disk; a clone with its cache takes about 30
KINDS = (*RUNNING, DISK, NETWORK, *STORED)
INTRODUCTION = """\
A tiny encoder and a toy task in temporary clones, driven by the real `dvc` (`make faults`). A
clone's pipeline is struck again and again, at seeded random moments, until it completes; then
stored artifacts are damaged. Whenever a run says that it is done, every output must have the bytes
of an undisturbed run."""
LATEST = 6.0  # seconds after a start until which a fault may come: a stage takes about three


@dataclass
class Bench:
    """The undisturbed run's bytes, and what has been counted so far."""

    template: Path
    expected: dict[str, bytes]
    disk: Disk
    index: PackageIndex
    rng: random.Random
    part: Part = field(default_factory=lambda: Part("Faults", INTRODUCTION, KINDS))


def start(root: Path, index: PackageIndex, *command: str) -> subprocess.Popen[bytes]:
    """A command in the clone, in a process group of its own; its words go to `log`."""
    env = ENV | {
        "OMP_NUM_THREADS": "1",
        "PIP_INDEX_URL": index.url,
        "PIP_RETRIES": "1",
        "PIP_NO_CACHE_DIR": "1",
    }
    # outside the clone's file system, which may be full
    with (root.parent.parent / f"log-{root.name}").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=root, env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip


def said(root: Path) -> str:
    return (root.parent.parent / f"log-{root.name}").read_text(errors="replace")


def wrong(root: Path, expected: dict[str, bytes]) -> list[str]:
    """Files at their final place that do not hold what they should."""
    return [name for name, content in outputs_of(root).items() if expected.get(name) != content]


def run_through(bench: Bench, root: Path) -> bool:
    """`make report`'s commands, undisturbed; takes the manual step that a message names."""
    for _ in range(3):
        start(root, bench.index, "stages.checks").wait()
        if start(root, bench.index, "dvc", "repro").wait() == 0:
            return True
        text = said(root)
        if "rwlock" in text or "Unable to acquire lock" in text:
            named = "rwlock" in text or "tmp/lock" in text
            bench.part.steps[f"remove .dvc/tmp/rwlock ({'' if named else 'not '}named)"] += 1
            for name in ("rwlock", "lock"):
                (root / ".dvc" / "tmp" / name).unlink(missing_ok=True)
        else:
            errors = [line for line in text.splitlines() if line.startswith(("ERROR", "error"))]
            bench.part.findings += [line[:300] for line in errors]
    return False


def finish(bench: Bench, root: Path, kinds: Counter[str]) -> bool:
    """Complete the clone's pipeline; whether it ends as the undisturbed one did."""
    before = sum(bench.part.steps.values())
    done = run_through(bench, root)
    same = done and outputs_of(root) == bench.expected
    for kind, number in kinds.items():
        bench.part.count(kind, "same", number if same else 0)
        bench.part.count(kind, "silent", number if done and not same else 0)
    if not same:
        bench.part.findings.append(f"after {dict(kinds)}: {wrong(root, bench.expected)[:3]}")
        bench.part.findings += said(root).strip().splitlines()[-3:]
    manual = sum(bench.part.steps.values()) - before
    if manual:
        bench.part.count(max(kinds, key=lambda kind: kinds[kind]), "manual", manual)
    return same


def outputs_of(root: Path) -> dict[str, bytes]:
    """What the undisturbed run is compared in; hidden leftovers and training states apart."""
    return {
        name: content
        for name, content in outputs(root).items()
        if not any(part.startswith(".") for part in Path(name).parts)
        and "checkpoints" not in Path(name).parts
    }


def disturb(bench: Bench, root: Path) -> tuple[str, bool]:
    """Start the pipeline and strike once: the fault's kind, and whether it was done before."""
    kinds = [*RUNNING, *([DISK] if bench.disk.mounted else [])]
    kind = bench.rng.choice(kinds)
    wait = bench.rng.uniform(0.2, LATEST)
    process = start(root, bench.index, "dvc", "repro")
    try:
        process.wait(wait)
        return "", True
    except subprocess.TimeoutExpired:
        pass
    if kind == DISK:
        bench.disk.fill(bench.rng.randrange(20_000))
        process.wait()
        bench.disk.free()
        hit = True
    else:
        hit = strike(kind, process)
        process.wait()
    return (kind if hit else ""), process.returncode == 0


def network(bench: Bench, root: Path) -> None:
    """Cut the network in the middle of the download; the stage has to say so."""
    bench.index.cut = True
    process = start(root, bench.index, "dvc", "repro", "download@toy")
    code = process.wait()
    bench.index.cut = False
    bench.part.count(NETWORK, "faults")
    if code == 0 or "error: package" not in said(root):
        bench.part.count(NETWORK, "silent")
        bench.part.findings.append(said(root).strip()[-200:])


def chain(bench: Bench, root: Path, bar: Any) -> None:
    """One clone: struck until it completes, then its stored artifacts damaged."""
    shutil.copytree(bench.template, root, symlinks=True)
    kinds: Counter[str] = Counter()
    network(bench, root)
    kinds[NETWORK] += 1
    done = False
    while not done and sum(kinds.values()) < 25:
        kind, done = disturb(bench, root)
        if kind:
            kinds[kind] += 1
            bench.part.count(kind, "faults")
            bad = wrong(root, bench.expected)
            bench.part.count(kind, "wrong", len(bad))
            bench.part.findings += [f"{kind}: {name}" for name in bad]
        bar.update(bench.part.faults - bar.n)
    whole = finish(bench, root, kinds)
    for kind in STORED if whole else ():
        stored = damage(kind, root, bench.rng)
        bench.part.count(kind, "faults")
        if "cached" in kind:  # so that the cache is what the outputs come from
            shutil.rmtree(root / "artifacts", ignore_errors=True)
        whole = finish(bench, root, Counter({kind: 1}))
        bar.update(bench.part.faults - bar.n)
        if not whole:
            bench.part.findings.append(f"{kind}: {stored}")
            break
    shutil.rmtree(root, ignore_errors=True)


def _facts(seed: int, begin: float, disk: Disk) -> str:
    mounted = "was mounted" if disk.mounted else "could not be mounted: no full disks"
    minutes = (time.monotonic() - begin) / 60
    return f"Seed {seed}, {minutes:.0f} minutes, a disk of {MEGABYTES} MB {mounted}."


def main() -> None:
    parser = argparse.ArgumentParser(description="Strike a small pipeline with faults.")
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=45)
    given = parser.parse_args()
    begin = time.monotonic()
    index = PackageIndex()
    with tempfile.TemporaryDirectory(prefix="fishpal-faults-") as name:
        folder = Path(name)
        template = prepare(folder, index)
        (folder / "disk").mkdir()
        disk = Disk(folder / "disk", MEGABYTES)
        try:
            bench = Bench(template, {}, disk, index, random.Random(given.seed))
            calm = folder / "disk" / "calm"
            shutil.copytree(template, calm, symlinks=True)
            if not run_through(bench, calm):
                sys.exit(said(calm))
            bench.expected = outputs_of(calm)

            with tqdm(total=given.faults, desc="faults", disable=None) as bar:
                while (
                    bench.part.faults < given.faults
                    and time.monotonic() - begin < given.minutes * 60
                ):
                    chain(bench, folder / "disk" / f"clone{bench.part.faults}", bar)
                    bench.part.facts = _facts(given.seed, begin, disk)
                    write_report(bench.part)
        finally:
            index.stop()
            disk.unmount()


if __name__ == "__main__":
    main()
