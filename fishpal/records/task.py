"""A tokenised task as training and measuring take it.

Layout of `artifacts/tokens/<task>/`, cut so that each later stage depends on what it reads:
`train/` with `task.json` (`TaskFacts`), `fit.arrow` and `selection.arrow`,
`evaluation/<split>.arrow`, `counts.json` (rows and truncated rows, for the report).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fishpal.records.arrow import ArrowSplit
from fishpal.records.examples import Example, check_examples, labels
from fishpal.records.facts import Limits, TaskFacts
from fishpal.records.paths import FIT, SELECTION, TASK


@dataclass(frozen=True)
class TokenisedTask:
    """A task's facts and the two parts of its train split.

    Attributes:
        fit: what is measured and trained on; a regression's labels standardised.
        selection: what checkpoints are picked on; empty where nothing is trained.
    """

    facts: TaskFacts
    fit: Sequence[Example]
    selection: Sequence[Example] = ()

    @classmethod
    def load(cls, folder: str | Path, limits: Limits, selection: bool = True) -> Self:
        """Read what stage `tokenize` wrote; `DataError` where a row is beyond task or `limits`."""
        folder = Path(folder)
        facts = TaskFacts.load(folder / TASK)
        parts = [FIT, SELECTION] if selection else [FIT]
        splits = [ArrowSplit(folder / part, standardised=True) for part in parts]
        return cls(facts, *(split.check(facts, limits) for split in splits))

    def class_shares(self) -> NDArray[np.float64]:
        """(C,) of the fit part, with one more of each, so that none is 0."""
        counts = np.bincount(labels(self.fit), minlength=self.facts.outputs)
        shares: NDArray[np.float64] = (counts + 1) / (counts + 1).sum()
        return shares

    def check(self, limits: Limits) -> None:
        """Raise `DataError` where an example is not the task's or beyond the encoder's limits."""
        check_examples(self.fit, self.facts, limits, "fit")
        check_examples(self.selection, self.facts, limits, "selection")
