"""Compute one cell in a clone of this machine's: what a worker runs, in the folder of the seed.

    python -m stages.grid.cell <clones> <python> <threads> <gpus> <cell>

A clone serves one cell at a time, so there are as many as cells at once. It is locked by a file
that stays open in `dvc`, too: where this process is killed, the clone is taken until `dvc` is gone.
"""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
from itertools import count
from pathlib import Path

from fishpal.common.errors import FishpalError
from fishpal.params.load import Params
from stages.grid.cells import WAITING
from stages.grid.seed import update_clone
from stages.runner import die_with_parent, run

ALL, AS_GIVEN = "all", "as_given"  # of `threads` and `gpus`: what the worker's own process has


def main(params: Params, clones: str, python: str, threads: str, gpus: str, cell: str) -> None:
    number, clone, lock = _take_clone(Path(clones) / socket.gethostname())
    update_clone(Path.cwd(), clone)
    # Nobody but the lock's holder can be at work in it. The number of a process that is gone may
    # be another's by now, and DVC would wait for that one.
    (clone / ".dvc" / "tmp" / "rwlock").unlink(missing_ok=True)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    env = os.environ | {
        "PATH": os.pathsep.join([str(Path(python).parent), os.environ.get("PATH", "")]),
        "DVC_SITE_CACHE_DIR": str(clone / ".dvc" / "tmp" / "site_cache"),
        "OMP_NUM_THREADS": str(cores) if threads == ALL else threads,
        "TOKENIZERS_PARALLELISM": "false",
    }
    if gpus != AS_GIVEN:
        devices = gpus.split(",")
        env["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)]
    # The hashes of files that this clone lacks: outputs that persist are not restored by repro.
    hashes = ["hash_encoder", *(f"hash@{task}" for task in params.grid.tasks)]
    checkout = ["checkout", "--quiet", "--force", "--allow-missing", *hashes]
    for command in (checkout, ["repro", cell]):
        whole = [python, *WAITING, *command]
        done = subprocess.run(
            whole, cwd=clone, env=env, pass_fds=[lock], preexec_fn=die_with_parent
        )
        if done.returncode:
            sys.exit(done.returncode)


def _take_clone(folder: Path) -> tuple[int, Path, int]:
    """The first clone that nothing works in: its number, its folder, and its lock's descriptor."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number in count():
            lock = os.open(folder / f"{number}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return number, folder / str(number), lock
            except BlockingIOError:
                os.close(lock)
    except OSError as error:
        raise FishpalError(f"{folder}: cannot be written: {error.strerror}") from error
    raise AssertionError("count() has no end")


if __name__ == "__main__":
    run(main, "clones", "python", "threads", "gpus", "cell")
