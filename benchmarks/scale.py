"""How CPU time and memory grow with rows, layers, candidates, examples, cells and classes.

    python -m benchmarks.scale [--only tokenize shuffle] [--rows 100000] [--cells 150]

Tiny random encoders and made-up rows: the exponents count, not the seconds. Every figure is of a
process of its own, forked where all packages are loaded, with one thread. Writes
`reports/scale.md`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from benchmarks.scale_work import GRID, ROWS, SERIES, Series
from fishpal.common.files import write_json, write_text
from fishpal.reporting.markdown import table as markdown_table

LAST = Path("artifacts/benchmark/scale.json")
SEEN = 8.0  # MiB: below, the memory of a few objects and the allocator's rounding


@dataclass(frozen=True)
class Figure:
    """CPU seconds, and peak memory above what the process began with, in MiB."""

    size: int
    seconds: float
    memory: float


def measure(series: Series, size: int) -> Figure:
    """Run one size in a fork; `RuntimeError` where it fails."""
    with tempfile.TemporaryDirectory(prefix="fishpal-scale-") as name:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            with contextlib.suppress(BaseException):
                os.environ["DVC_SITE_CACHE_DIR"] = f"{name}/site"
                os.write(write, json.dumps(_measured(series, size, Path(name) / "work")).encode())
                code = 0
            os._exit(code)
        os.close(write)
        with os.fdopen(read) as file:
            said = file.read()
        os.waitpid(child, 0)
    if not said:
        raise RuntimeError(f"{series.what} at {size} {series.axis} failed")
    return Figure(size, *json.loads(said))


def _measured(series: Series, size: int, root: Path) -> tuple[float, float]:
    """In the fork: CPU seconds and MiB of the work."""
    warnings.simplefilter("ignore")
    root.mkdir()
    try:
        work = series.prepare(size, root)
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before, begin = _peak(), time.process_time()
        work()
        return time.process_time() - begin, _peak() - before
    except BaseException as error:
        sys.stderr.write(f"{series.what}, {size}: {error!r}\n")
        raise
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _peak() -> float:
    """MiB of this process at most since the peak was cleared."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def exponent(found: Sequence[Figure], value: Callable[[Figure], float]) -> str:
    """Slope of log value over log size, by least squares over the last decade of sizes."""
    last = [each for each in found if each.size * 10 >= found[-1].size]
    if len(last) < 2 or min(map(value, last)) <= 0:
        return "–"
    size = np.log([each.size for each in last])
    grown = np.log([value(each) for each in last])
    slope = np.polyfit(size, grown, 1)[0]
    return f"{slope:.2f} ({last[0].size:,} to {last[-1].size:,})"


def line(series: Series, found: Sequence[Figure]) -> list[str]:
    spent = [each.seconds for each in found]
    seconds = ", ".join(f"{each:.0f}" if each >= 10 else f"{each:.2g}" for each in spent)
    peak = found[-1].memory
    memory = exponent(found, lambda f: f.memory) if peak > SEEN else "–"
    sizes = ", ".join(f"{each.size:,}" for each in found)
    own = exponent(found, lambda f: f.seconds)
    return [
        series.what,
        f"{series.axis} {sizes}",
        seconds,
        own,
        series.least,
        f"{peak:.0f}",
        memory,
    ]


def crossing(plain: Sequence[Figure], kernels: Sequence[Figure]) -> str:
    """From how many examples on the kernels cost as much as all else."""
    n = np.array([each.size for each in kernels], float)
    more = np.array([k.seconds - p.seconds / 2 for k, p in zip(kernels, plain, strict=True)])
    linear, square = np.linalg.lstsq(np.stack([n, n**2], 1) / n[:, None], more / n, rcond=None)[0]
    if min(linear, square) <= 0:
        return "The kernels' n² does not show at these sizes."
    here = f"In this tiny encoder it costs as much as the passes from n ≈ {linear / square:,.0f} on"
    return f"Kernels are n² inner products of gradients, {square:.1e} n² seconds. {here}."


def text(found: dict[str, list[Figure]]) -> str:
    header = ["what", "grows with", "CPU seconds", "exponent (fit over)", "must be"]
    header += ["MiB at most", "exponent of MiB"]
    parts = [
        "# Growth",
        "CPU time (user and system) of one thread and peak resident memory above the start's, each"
        " of a process of its own, without loading packages; tiny random encoders, 8 tokens an"
        " example. The exponent is the slope of log seconds over log size, fitted over the last"
        " factor of ten of the sizes; small sizes show constant parts instead. Other work shared"
        " the caches meanwhile, so that a few per cent are noise. Shuffling a million rows leaves"
        " the caches: NumPy's own permutation takes 20 times as long as that of a tenth of them.",
        markdown_table(header, [line(SERIES[name], figures) for name, figures in found.items()]),
    ]
    if {"examples", "kernels"} <= set(found):
        parts.append(crossing(found["examples"], found["kernels"]))
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return "\n\n".join([*parts, f"{machine}, torch {torch.__version__}."]) + "\n"


def main(argv: Sequence[str] | None = None, target: str = "reports/scale.md") -> None:
    parser = argparse.ArgumentParser(description="How CPU time and memory grow.")
    parser.add_argument("--only", nargs="+", choices=list(SERIES), default=list(SERIES))
    parser.add_argument("--rows", type=int, default=max(ROWS), help="at most")
    parser.add_argument("--cells", type=int, default=max(GRID), help="at most")
    parser.add_argument("--add", action="store_true", help="keep the other lines of the last run")
    parser.add_argument("--tiny", action="store_true", help="the two smallest sizes of each")
    given = parser.parse_args(argv)
    torch.set_num_threads(1)  # before any work: forks cannot use the threads of their parent
    limits = {"rows": given.rows, "cells": given.cells}
    wanted = {
        name: [n for n in series.sizes if n <= limits.get(series.axis, n)]
        for name, series in SERIES.items()
        if name in given.only
    }
    found: dict[str, list[Figure]] = {}
    if given.add and LAST.is_file():
        kept = json.loads(LAST.read_text(encoding="utf-8"))
        found = {name: [Figure(*each) for each in figures] for name, figures in kept.items()}
    with tqdm(total=sum(map(len, wanted.values())), desc="scale", disable=None) as bar:
        for name, sizes in wanted.items():
            found[name] = []
            for size in sizes[:2] if given.tiny else sizes:
                found[name].append(measure(SERIES[name], size))
                bar.update()
            found = {each: found[each] for each in SERIES if each in found}
            write_text(target, text(found))
    if not given.tiny:
        write_json(
            LAST, {name: [astuple(each) for each in figures] for name, figures in found.items()}
        )


if __name__ == "__main__":
    main()
