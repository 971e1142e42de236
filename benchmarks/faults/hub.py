"""Faults of the hub at seeded random requests of a fetch, and what becomes of it.

    python -m benchmarks.faults.hub [--faults 60] [--seed 0]

A model and a data set on a hub of this machine, fetched by the hub's own libraries with a cache of
their own for each fault, which strikes once, a few times or for good. Once it is over, the same
fetch is run again until it says that it is done; then the output must have the bytes of an
undisturbed fetch. `reports/faults.md` gets the table.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from tqdm import tqdm

from benchmarks.faults.hub_kinds import KILL, KINDS, Case, Source
from benchmarks.faults.report import Part, write_report
from benchmarks.toy.hub_fetch import HERE, start_fetch, written
from benchmarks.toy.hub_files import MODEL, OTHER, ROWS, data_set, publish
from benchmarks.toy.hub_listing import Files
from benchmarks.toy.hub_server import Hub

PATIENCE = 120.0  # seconds until a fetch counts as hanging
MOST = 6  # fetches of a case: as many as a fault strikes, and one after a manual step
CLEAR = "remove the hub's cache, HF_HOME"
INTRODUCTION = """\
A model and a data set on a hub of this machine, fetched by the hub's own libraries (`make faults`)
with a cache of their own for each fault. It strikes a seeded random request of the fetch and the
next ones of its sort: once, a few times, or until the fetch has failed. The fetch is run again
until it says that it is done; then the files that it puts out must be an undisturbed fetch's, and
another fetch must find all of them in the cache. A fetch that fails must say so in one line and
leave nothing at the output's place."""


@dataclass
class Bench:
    """The hub, what is fetched from it, and what has been counted so far."""

    folder: Path
    hub: Hub
    sources: list[Source]
    rng: random.Random
    ends: Counter[str] = field(default_factory=Counter)
    part: Part = field(default_factory=lambda: Part("Faults of the hub", INTRODUCTION, [*KINDS]))


def sources() -> list[Source]:
    """The model is larger than the hub's libraries read at once, so that a fetch can be resumed."""
    model = MODEL | {"model.safetensors": random.Random(0).randbytes(24 << 20)}
    flipped = ROWS.assign(label=1 - ROWS["label"])
    rows, others = (data_set({"default": {"train": t, "test": t[:10]}}) for t in (ROWS, flipped))
    other = {name: content[::-1] for name, content in model.items()}
    return [Source("me/model", model, other), Source("datasets/me/rows", rows, others)]


def run_fetch(bench: Bench, place: Path, case: Case | None, source: Source) -> tuple[bool, str]:
    """Whether a fetch says that it is done, and what else it says."""
    process = start_fetch(bench.hub.url, place, source.name)
    if case is not None:
        case.process = process
    try:
        said, errors = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return False, f"hangs for {PATIENCE:.0f} s"
    if process.returncode:
        return False, f"ends with {process.returncode}: " + errors.strip().split("\n")[-1]
    line = json.loads(said.splitlines()[-1])[source.name]
    return line == HERE, line


def observe(bench: Bench, source: Source) -> None:
    """Note what an undisturbed fetch asks for and puts out."""
    place = bench.folder / "calm"
    place.mkdir()
    publish(bench.hub, source.name, source.files)
    bench.hub.others[source.name, OTHER] = source.other
    bench.hub.asked.clear()
    done, line = run_fetch(bench, place, None, source)
    if not done:
        raise RuntimeError(line)
    source.asked, source.expected = [*bench.hub.asked], written(place, source.name)
    shutil.rmtree(place)


def left(place: Path, hidden: bool) -> list[str]:
    """What lies where outputs go, with or without what `replacing` hides and sweeps later."""
    files = [p.relative_to(place) for p in (place / "out").rglob("*") if p.is_file()]
    return [str(p) for p in files if hidden or not any(x.startswith(".") for x in p.parts)]


def try_on(bench: Bench, case: Case, place: Path) -> bool:
    """Fetch until it is done; whether it ends with the same bytes."""
    part, kind, fault = bench.part, case.kind, case.fault
    for tries in range(MOST):
        over = fault.times == 0
        done, line = run_fetch(bench, place, case, case.source)
        if done:
            return judge(bench, case, place, tries)
        killed = kind == KILL and line.startswith("ends with -9")
        bad = left(place, hidden=not killed)
        part.count(kind, "wrong", len(bad))
        part.findings += [f"{case}: leaves {name}" for name in bad]
        is_line = line.startswith("hub ") and "; allowed: " in line and "\n" not in line
        if not (killed or is_line):
            part.findings.append(f"{case}: {line[-200:]}")
        if over and not killed:
            part.count(kind, "manual")
            part.steps[CLEAR] += 1
            part.findings.append(f"{case}: when over: {line[:200]}")
            shutil.rmtree(place / "home", ignore_errors=True)
        if case.lasting:
            fault.times = 0
        bench.hub.start()
    part.findings.append(f"{case}: not fetched in {MOST} tries")
    return False


def judge(bench: Bench, case: Case, place: Path, tries: int) -> bool:
    """Look at the output of a fetch that says that it is done; whether it is the right one."""
    end = "at the first try" if not tries else "when run again"
    bench.ends[end] += bool(case.fault.struck)
    same = written(place, case.source.name) == case.source.expected
    extra = [name for name in left(place, hidden=True) if Path(name).parts[-2][0] == "."]
    bench.part.count(case.kind, "wrong", len(extra))
    if not same:
        bench.part.count(case.kind, "silent")
        names = differing(written(place, case.source.name), case.source.expected)
        bench.part.findings.append(f"{case}: done {end}, but not {names}")
    return same


def differing(found: Files, expected: Files) -> list[str]:
    return sorted(n for n in found.keys() | expected if found.get(n) != expected.get(n))


def check_cached(bench: Bench, case: Case, place: Path) -> None:
    """Another fetch must put out the same and ask for no file's content."""
    shutil.rmtree(place / "out")
    bench.hub.asked.clear()
    done, line = run_fetch(bench, place, None, case.source)
    asked = [each for each in bench.hub.asked if each.startswith("GET /cdn/")]
    if not done or written(place, case.source.name) != case.source.expected or asked:
        bench.part.findings.append(f"{case}: from the cache: {line[:200]} {asked}")


def strike(bench: Bench, number: int) -> None:
    """One fault of the next kind at a random request; counted where it hit something."""
    kind = [*KINDS][number % len(KINDS)]
    case = Case(kind, bench.rng.choice(bench.sources), bench.rng)
    place = bench.folder / f"case{number}"
    place.mkdir()
    for name in (case.source.name, ""):  # and the hub's own page, which is asked for first
        bench.hub.faults[name] = case.fault
    same = try_on(bench, case, place)
    case.fault.times = 0
    bench.hub.start()
    if case.fault.struck:
        bench.part.count(case.kind, "faults")
        bench.part.count(case.kind, "same", int(same))
    if same:
        check_cached(bench, case, place)
    shutil.rmtree(place)


def _facts(bench: Bench, seed: int, begin: float) -> str:
    minutes = (time.monotonic() - begin) / 60
    ends = ", ".join(f"{number} {end}" for end, number in sorted(bench.ends.items()))
    libraries = ", ".join(f"{name} {version(name)}" for name in ("huggingface_hub", "datasets"))
    return f"Seed {seed}, {minutes:.0f} minutes; fetched: {ends}; {libraries}."


def main() -> None:
    parser = argparse.ArgumentParser(description="Strike fetches from the hub with faults.")
    parser.add_argument("--faults", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=30)
    given = parser.parse_args()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fishpal-hub-faults-") as name, Hub() as hub:
        bench = Bench(Path(name), hub, sources(), random.Random(given.seed))
        for source in bench.sources:
            observe(bench, source)
        with tqdm(total=given.faults, desc="faults", disable=None) as bar:
            number = 0
            while bench.part.faults < given.faults:
                if time.monotonic() - begin > given.minutes * 60:
                    break
                strike(bench, number)
                number += 1
                bar.update(bench.part.faults - bar.n)
                bench.part.facts = _facts(bench, given.seed, begin)
                write_report(bench.part)


if __name__ == "__main__":
    main()
