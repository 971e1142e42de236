"""Cells as commands on workers, followed to their end."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fishpal.common.errors import FishpalError, brief
from fishpal.common.files import write_text
from fishpal.common.progress import tqdm
from stages.grid.cluster import GPU
from stages.grid.words import last_line

SECONDS = 10.0  # after which to look whether there are workers at all


def compute(
    client: Any, commands: Mapping[str, Sequence[str]], shared: Path, gpus: bool
) -> list[str]:
    """Run every cell's command on some worker, in the seed of `shared`; the cells that failed.

    What travels is `subprocess.run`, by its name, and plain strings. A lost worker's cell goes to
    another. A failed one is said with its last line, and its whole words go to `logs` there.
    """
    how = {
        "cwd": str(shared / "seed"), "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE,
        "stderr": subprocess.STDOUT, "text": True, "errors": "replace",
    }  # fmt: skip
    named = {f"{cell}-{uuid.uuid4().hex}": cell for cell in commands}
    left = [
        client.submit(
            subprocess.run, list(commands[cell]), **how, key=key, pure=False,
            resources={GPU: 1} if gpus else None,
        )
        for key, cell in named.items()
    ]  # fmt: skip
    failed = []
    with tqdm(total=len(left), desc="cells", unit="cell", disable=None) as bar:
        while left:
            done = _next(client, left, gpus)
            for future in done:
                left.remove(future)
                cell = named[future.key]
                wrong = _what_is_wrong(future, shared / "logs" / f"{cell}.log")
                failed += [cell] if wrong else []
                bar.update()
                if wrong or bar.disable:  # on a terminal the bar says what went well
                    said = f"{cell}: {wrong or 'done'} ({len(named) - len(left)} of {len(named)})"
                    tqdm.write(said, file=sys.stderr)
    return failed


def _next(client: Any, futures: list[Any], gpus: bool) -> list[Any]:
    """Those that have ended; waits for one, and says so where nothing could end."""
    from distributed import CancelledError, wait

    warned = False
    while True:
        try:
            return list(wait(futures, timeout=SECONDS, return_when="FIRST_COMPLETED").done)
        except TimeoutError:
            workers = client.scheduler_info(n_workers=-1)["workers"].values()
            if not warned and not any(not gpus or GPU in w["resources"] for w in workers):
                allowed = f"dask worker … --resources {GPU}=1" if gpus else "dask worker …"
                sys.stderr.write(f"warning: waiting for a worker, as of `{allowed}`\n")
                warned = True
        except CancelledError as error:
            again = "run this again: what is done stays in the cache"
            raise FishpalError(f"the scheduler was lost; {again}") from error


def _what_is_wrong(future: Any, log: Path) -> str | None:
    from distributed import KilledWorker

    error = future.exception()
    if isinstance(error, KilledWorker):
        return f"error: lost {error.allowed_failures + 1} workers, one after the other"
    if error is not None:
        return f"error: {brief(error, 200)}"
    done = future.result()
    if done.returncode == 0:
        log.unlink(missing_ok=True)
        return None
    write_text(log, done.stdout)
    return f"{brief(last_line(done.stdout), 300)} [{log}]"
