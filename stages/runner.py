"""What every stage does alike: read its names, die with its parent, turn errors into one line."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import re
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fishpal.common.errors import FishpalError, FishpalWarning, ProcessError
from fishpal.params.load import Params, load_params
from fishpal.records.paths import Artifacts
from fishpal.records.results import Seconds

ARTIFACTS = Artifacts()
PYTHONS_FORMAT = warnings.formatwarning
PR_SET_PDEATHSIG = 1  # linux/prctl.h
LAUNCHER = "FISHPAL_LAUNCHER"  # the process that `launch` started this one from
MEETING = timedelta(seconds=5)  # for a store that is there already, or never will be


def run(
    stage: Callable[..., None], *names: str, processes: Callable[[Params], int] | None = None
) -> None:
    """Call `stage(params, *arguments)` with one command-line argument for each of `names`.

    Exits with 1 and one line on standard error where the stage raises `FishpalError`, with 130
    on Ctrl-C.

    Args:
        processes: of a stage that several processes can share: how many to start, where torchrun
            has not started them already.
    """
    die_with_parent()
    if is_main():  # the others write nothing, and have to end even where they wait for one another
        signal.signal(signal.SIGTERM, terminate)
    warnings.simplefilter("always" if is_main() else "ignore", FishpalWarning)
    warnings.formatwarning = _format_warning
    given = sys.argv[1:]
    try:
        if len(given) != len(names):
            usage = " ".join(f"<{name}>" for name in names)
            raise FishpalError(f"arguments are '{' '.join(given)}'; allowed: {usage or 'none'}")
        params = load_params()
        if processes is None and started() > 1:
            raise FishpalError(f"processes are {started()}; allowed in this stage: one")
        if processes and "RANK" not in os.environ and processes(params) > 1:
            launch(stage, processes(params))
        else:
            stage(params, *given)
    except FishpalError as error:
        if _speaks():
            sys.stderr.write(f"error: {error}\n")
            sys.stderr.flush()
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:  # from here on SIGTERM just ends it: raised in torch's exit, it would be a traceback
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def launch(stage: Callable[..., None], count: int) -> None:
    """Run the stage's command in `count` processes of torchrun's launcher, and end as they do."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ[LAUNCHER] = str(os.getpid())
    logging.disable(logging.ERROR)  # it says in fifty lines what is one below
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    module = stage.__globals__["__spec__"].name
    try:
        with TemporaryDirectory() as logs:
            config = LaunchConfig(
                1, 1, count, max_restarts=0, logs_specs=DefaultLogsSpecs(logs),
                run_id="fishpal", rdzv_backend="c10d", rdzv_endpoint="localhost:0",
            )  # fmt: skip
            elastic_launch(config, sys.executable)("-m", module, *sys.argv[1:])
    except SignalException as end:
        sys.exit(128 + end.sigval)
    except ChildFailedError as error:
        codes = {failure.exitcode: rank for rank, failure in error.failures.items()}
        if 1 in codes:  # one of them has spoken
            sys.exit(1)
        # SIGTERM, with or without a handler, is what the launcher sends to those that are left.
        code = min(codes, key=lambda each: each in (-signal.SIGTERM, 128 + signal.SIGTERM))
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        raise ProcessError(f"process {codes[code]} of {count} ended by {how}") from error


def is_main() -> bool:
    """This process is the only one, or the one of those that torchrun started that writes."""
    return os.environ.get("RANK", "0") == "0"


def started() -> int:
    """Processes that torchrun started, this one among them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _speaks() -> bool:
    """This process is the first of those that torchrun started to have an error to tell."""
    if started() == 1:
        return True
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # sent as soon as another one has ended
    from torch.distributed.rendezvous import rendezvous

    try:
        store, *_ = next(rendezvous("env://", timeout=MEETING))
        return bool(store.add("fishpal/errors", 1) == 1)
    except (RuntimeError, ValueError):  # the store went with its process, or there is none
        return True


@contextmanager
def seconds_to(path: Path, before: float = 0.0) -> Iterator[dict[str, str]]:
    """Write the block's wall-clock seconds, and those `before` it, to an output of their own, with
    what it notes.

    Kept out of the stage's other outputs, which have to be the same bytes on every run.
    """
    start = time.perf_counter()
    note: dict[str, str] = {}
    yield note
    if is_main():
        Seconds(round(before + time.perf_counter() - start, 3), **note).save(path)


@contextmanager
def importing() -> Iterator[None]:
    """Let the block import what is large, without collecting garbage, of which there is none.

    A fifth to a third of the seconds that torch and transformers take.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # what was imported stays: later collections need not look at it
        gc.enable()


def check_cell(params: Params, task: str, method: str) -> None:
    """Raise unless task and method are known."""
    params.task(task)
    params.method(method)


def parse_seed(text: str) -> int:
    """A seed in its one spelling, since it names files; and `int` refuses thousands of digits."""
    if not re.fullmatch("0|[1-9][0-9]{0,9}", text) or int(text) >= 2**32:
        raise FishpalError(f"seed is '{text}'; allowed: integers from 0 below 2**32")
    return int(text)


def _format_warning(
    message: Warning | str, category: type[Warning], *place: Any, **line: Any
) -> str:
    """Our own warnings as one line; others as Python shows them."""
    if issubclass(category, FishpalWarning):
        return f"warning: {message}\n"
    return PYTHONS_FORMAT(message, category, *place, **line)


def terminate(signum: int, frame: object) -> None:
    """Unwind on SIGTERM, so that temporary files, and workers, go."""
    raise SystemExit(128 + signum)


def die_with_parent() -> None:
    """Have Linux end this process when `dvc` dies.

    A killed `dvc` leaves its stage running otherwise; the next `dvc repro` then has two writers
    of one output, and wrong bytes can reach the cache.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.environ.get(LAUNCHER, str(os.getppid())) != str(os.getppid()):
        sys.exit(128 + signal.SIGTERM)  # it died while this process was starting
