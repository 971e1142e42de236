"""What all sides of `benchmarks.training` train on, and how they answer it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Self

import numpy as np

from fishpal.models.batching import endless_batches
from fishpal.records.examples import Example, lengths
from fishpal.records.facts import Limits
from fishpal.records.paths import Artifacts
from fishpal.records.task import TokenisedTask

WARM, BATCH_SIZE = 2, 32
ANY = Limits(2**31, 2**31, None)  # the tokens are checked where they were written


@dataclass(frozen=True)
class Work:
    """The fit part of a task in batches, of which the first `WARM` are not measured."""

    plan: str
    precision: str
    encoder: Path
    task: TokenisedTask
    examples: Sequence[Example]
    batches: list[list[int]]

    @classmethod
    def of(cls, plan: str, precision: str, task: str, updates: str) -> Self:
        found = TokenisedTask.load(Artifacts().tokens(task), ANY)
        examples = list(found.fit)
        drawn = endless_batches(lengths(examples), BATCH_SIZE, np.random.default_rng(0))
        batches = list(islice(drawn, WARM + int(updates)))
        return cls(plan, precision, Artifacts().encoder, found, examples, batches)

    @property
    def measured(self) -> int:
        """Examples in the measured updates."""
        return sum(map(len, self.batches[WARM:]))


def answer(run: Callable[[Work], float], given: list[str]) -> None:
    """Train the work once for every line of standard input; print each time's CPU seconds."""
    work, out = Work.of(*given), sys.stdout
    for _ in sys.stdin:
        with contextlib.redirect_stdout(sys.stderr):
            seconds = run(work)
        out.write(f"{seconds}\n")
        out.flush()
