"""Faults of a hub: which requests they strike, and how these are answered."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock, Timer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.toy.hub_server import Handler

ALWAYS = 10**9
Answer = Callable[["Handler"], None]


@dataclass
class Fault:
    """What answers a repository's requests whose method and path match `on`.

    The first `skip` of them pass, the next `times` are struck; `struck` counts these.
    """

    on: str
    answer: Answer
    times: int = ALWAYS
    skip: int = 0
    struck: int = 0
    lock: Any = field(default_factory=Lock, repr=False)

    def strikes(self, request: str) -> bool:
        with self.lock:  # files are fetched by several threads
            if self.times <= 0 or not re.search(self.on, request):
                return False
            if self.skip:
                self.skip -= 1
                return False
            self.times -= 1
            self.struck += 1
            return True


def status(code: int, **headers: str) -> Answer:
    return lambda handler: handler.answer({"error": "said so"}, code, **headers)


def cut(handler: Handler) -> None:
    """Half of the body, though all of it was announced."""
    handler.share = 0.5
    handler.respond()


def longer(handler: Handler) -> None:
    """Another size than the file has."""
    handler.extra = 7
    handler.respond()


def elsewhere(commit: str) -> Answer:
    """Another commit than the one asked for, and its files where the hub has them."""

    def answer(handler: Handler) -> None:
        handler.commit = commit
        handler.see(commit)
        handler.respond()

    return answer


def stall(handler: Handler) -> None:
    """No answer for longer than anyone here waits."""
    time.sleep(3)


def refuse(seconds: float | None) -> Answer:
    """An answer, and no more connections for so long, or until the hub is started again."""

    def answer(handler: Handler) -> None:
        handler.respond()
        handler.server.stop()
        _start_after(seconds, handler)

    return answer


def die(seconds: float | None) -> Answer:
    """Half of a body, then nothing from anyone for so long, or until the hub is started again."""

    def answer(handler: Handler) -> None:
        cut(handler)
        handler.server.stop(cut=True)
        _start_after(seconds, handler)

    return answer


def _start_after(seconds: float | None, handler: Handler) -> None:
    if seconds is not None:
        Timer(seconds, handler.server.start).start()
