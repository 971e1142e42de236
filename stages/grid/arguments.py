"""The command line of `stages.run_grid`."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from fishpal.common.errors import FishpalError
from stages.grid.cell import ALL, AS_GIVEN
from stages.grid.cluster import Options

SHARED = Path(".dvc/tmp/grid")


class _Parser(ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        raise FishpalError(f"arguments: {message} (--help shows what is allowed)")


def parse(words: Sequence[str]) -> Namespace:
    """`FishpalError` names an argument that is unknown or out of range."""
    parser = _Parser("stages.run_grid", description="Compute the grid's cells on several workers.")
    add = parser.add_argument
    add("--workers", type=int, default=2, help="processes of this machine (2)")
    add("--scheduler", help="of dask, tcp://host:port or tls://host:port, instead of processes")
    add("--tls-ca", type=Path, help="the authority's certificate")
    add("--tls-cert", type=Path, help="this client's certificate")
    add("--tls-key", type=Path, help="its key")
    add("--gpus", action="store_true", help="a cell takes one resource GPU of a worker")
    add("--threads", type=int, help="of a cell (OMP_NUM_THREADS, else this machine's cores shared"
        " out; with --scheduler, all that the worker may use)")  # fmt: skip
    add("--losses", type=int, default=3, help="workers that a cell may lose (3)")
    add("--python", default=sys.executable, help="the workers' interpreter (this one)")
    add("--shared", type=Path, default=SHARED, help=f"a folder that workers see, too ({SHARED})")
    add("--clones", type=Path, help="where workers keep their clones (in --shared)")
    add("--dry", action="store_true", help="only show what would run")
    given = parser.parse_args(words)
    for name, least in (("workers", 1), ("threads", 1), ("losses", 0)):
        value = getattr(given, name)
        if value is not None and value < least:
            raise FishpalError(f"--{name} is {value}; allowed: {least} or more")
    given.shared = given.shared.absolute()
    return given


def options_of(given: Namespace) -> Options:
    files = {f"--tls-{name}": getattr(given, f"tls_{name}") for name in ("ca", "cert", "key")}
    tls = tuple(path for path in files.values() if path)
    for name, path in files.items():
        if tls and not (path and path.is_file()):
            raise FishpalError(f"{name} is '{path}'; allowed: a file, as for the other two")
    return Options(given.workers, given.scheduler, tls, given.gpus, given.losses)


def cell_command(given: Namespace, cell: str) -> list[str]:
    """What a worker runs for a cell, in the seed's folder."""
    clones = str((given.clones or given.shared / "clones").absolute())
    threads, gpus = ALL, AS_GIVEN
    if not given.scheduler:
        cores = str(max((os.cpu_count() or 1) // given.workers, 1))
        threads = os.environ.get("OMP_NUM_THREADS", cores)
        if given.gpus:
            visible = os.environ.get("CUDA_VISIBLE_DEVICES")
            gpus = visible or ",".join(map(str, range(given.workers)))
    threads = str(given.threads or threads)
    return [given.python, "-m", "stages.grid.cell", clones, given.python, threads, gpus, cell]
