"""What every stage does alike: read its names, die with its parent, turn errors into one line."""

from __future__ import annotations

import ctypes
import re
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fishpal.common.errors import FishpalError, FishpalWarning
from fishpal.params.load import Params, load_params
from fishpal.records.paths import Artifacts
from fishpal.records.results import Seconds

ARTIFACTS = Artifacts()
PYTHONS_FORMAT = warnings.formatwarning
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def run(stage: Callable[..., None], *names: str) -> None:
    """Call `stage(params, *arguments)` with one command-line argument for each of `names`.

    Exits with 1 and one line on standard error where the stage raises `FishpalError`, with 130
    on Ctrl-C.
    """
    die_with_parent()
    signal.signal(signal.SIGTERM, _terminate)
    warnings.simplefilter("always", FishpalWarning)
    warnings.formatwarning = _format_warning
    given = sys.argv[1:]
    try:
        if len(given) != len(names):
            usage = " ".join(f"<{name}>" for name in names)
            raise FishpalError(f"arguments are '{' '.join(given)}'; allowed: {usage or 'none'}")
        stage(load_params(), *given)
    except FishpalError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    finally:  # from here on SIGTERM just ends it: raised in torch's exit, it would be a traceback
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def seconds_to(path: Path) -> Iterator[dict[str, str]]:
    """Write the block's wall-clock seconds to an output of their own, with what it notes.

    Kept out of the stage's other outputs, which have to be the same bytes on every run.
    """
    start = time.perf_counter()
    note: dict[str, str] = {}
    yield note
    Seconds(round(time.perf_counter() - start, 3), **note).save(path)


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


def _terminate(signum: int, frame: object) -> None:
    """Unwind on SIGTERM, so that temporary files go."""
    raise SystemExit(128 + signum)


def die_with_parent() -> None:
    """Have Linux end this process when `dvc` dies.

    A killed `dvc` leaves its stage running otherwise; the next `dvc repro` then has two writers
    of one output, and wrong bytes can reach the cache.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
