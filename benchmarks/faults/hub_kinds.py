"""What can befall a fetch from the hub, drawn at random."""

from __future__ import annotations

import random
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.toy.hub_faults import (
    ALWAYS,
    Answer,
    Fault,
    cut,
    die,
    elsewhere,
    longer,
    refuse,
    stall,
    status,
)
from benchmarks.toy.hub_files import OTHER
from benchmarks.toy.hub_listing import Files
from benchmarks.toy.hub_server import Handler

LISTING, ADDRESS, STORE = "^(GET|POST) /api/", "^(GET|HEAD) /(?!cdn/|api/)..", "^GET /cdn/"
CONTENT = "^GET /(?!cdn/|api/).."  # of a small file, at its own address
SORTS = {"any request": "", "listings": LISTING, "addresses": ADDRESS, "the store": STORE,
         "small files": CONTENT}  # fmt: skip
ANY = ("any request", "listings", "addresses", "the store")
BODIES = ("listings", "small files", "the store")
COMMITS = ("listings", "addresses")  # what the store holds is of no commit
REFUSED, KILLED = "connection refused", "hub killed in mid-transfer"
KILL = "kill the fetch in mid-transfer"
ELSEWHERE, MISSING = "another commit than pinned", "404"
KINDS = {  # each with the sorts of requests that it may strike
    REFUSED: ANY, "401": ANY, MISSING: ANY, "429 with Retry-After": ANY, "500": ANY,
    "cut body": BODIES, "wrong size": (*BODIES, "addresses"), "stalled answer": ANY,
    ELSEWHERE: COMMITS, KILLED: BODIES, KILL: BODIES,
}  # fmt: skip
PLAIN: dict[str, Answer] = {
    "401": status(401), "429 with Retry-After": status(429, Retry_After="1"), "500": status(500),
    "cut body": cut, "wrong size": longer, "stalled answer": stall,
}  # fmt: skip
CODES = ("", "RepoNotFound", "RevisionNotFound", "EntryNotFound")  # the hub's reasons for a 404


@dataclass
class Source:
    """What is fetched: its files, another commit's, and what an undisturbed fetch asks and puts."""

    name: str
    files: Files
    other: Files
    asked: Sequence[str] = ()
    expected: Files = field(default_factory=dict)


class Case:
    """A fault of one kind for one source; `process` is the fetch that is under way."""

    def __init__(self, kind: str, source: Source, rng: random.Random) -> None:
        self.kind, self.source = kind, source
        self.process: subprocess.Popen[str] | None = None
        self.sort = rng.choice([each for each in KINDS[kind] if self._matching(each)])
        times = rng.choice([1, rng.randint(2, 4), ALWAYS])
        seconds = None if times == ALWAYS else rng.uniform(0, 0.1 * times)
        self.lasting = times == ALWAYS
        if kind in (REFUSED, KILLED):  # one that lasts by itself
            times = 1
        if kind == KILL:
            times = min(times, 3)
        answer = self._answer(rng, seconds)
        skip = rng.randrange(self._matching(self.sort))
        self.fault = Fault(SORTS[self.sort], answer, times, skip)

    def _matching(self, sort: str) -> int:
        return sum(bool(re.search(SORTS[sort], line)) for line in self.source.asked)

    def _answer(self, rng: random.Random, seconds: float | None) -> Answer:
        special: dict[str, Callable[[], Answer]] = {
            REFUSED: lambda: refuse(seconds),
            KILLED: lambda: die(seconds),
            KILL: lambda: self._kill,
            MISSING: lambda: status(404, X_Error_Code=rng.choice(CODES)),
            ELSEWHERE: lambda: elsewhere(OTHER),
        }
        return special[self.kind]() if self.kind in special else PLAIN[self.kind]

    def _kill(self, handler: Handler) -> None:
        cut(handler)
        time.sleep(0.05)  # until what was sent is where the fetch keeps it
        if self.process is not None:
            self.process.kill()

    def __str__(self) -> str:
        ends = "for good" if self.lasting else f"{self.fault.struck} times"
        return f"{self.kind}, {self.source.name}, {ends} at {self.sort}"
