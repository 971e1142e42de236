"""A stage without torch that two processes share; `run` starts it in that many."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from fishpal.common.errors import DataError, caution
from fishpal.params.load import Params
from stages.runner import run


def main(params: Params, what: str) -> None:
    rank = os.environ["RANK"]
    caution("odd")
    Path(rank).write_text(str(os.getpid()))
    while len(list(Path().glob("[01]"))) < 2:  # the first end would silence the other one
        time.sleep(0.01)
    if what == "refuse":
        raise DataError("rows are 0; allowed: 1")
    if what == "kill" and rank == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "interrupt" and rank == "0":
        os.kill(os.getppid(), signal.SIGINT)
    time.sleep(60)


if __name__ == "__main__":
    run(main, "what", processes=lambda _: 2)
