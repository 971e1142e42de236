"""Forked processes that find one another as those of torchrun do, without starting Python anew."""

from __future__ import annotations

import os
import signal
import socket
import traceback
from collections.abc import Callable

from accelerate.state import AcceleratorState

TIMEOUT = 300  # seconds, on a machine that does much else


def together(work: Callable[[int], None], count: int = 2) -> list[int]:
    """Call `work(rank)` in `count` processes at once; their exit codes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = []
    for rank in range(count):
        child = os.fork()
        if child:
            children.append(child)
            continue
        code = 99
        try:
            signal.alarm(TIMEOUT)
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            for key, value in (("RANK", rank), ("WORLD_SIZE", count)):
                os.environ |= {key: str(value), f"LOCAL_{key}": str(value)}
            AcceleratorState._reset_state(reset_partial_state=True)  # the parent's
            work(rank)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
