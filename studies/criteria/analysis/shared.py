"""How well weights that all plans share rank them, on plans in full and under a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from studies.criteria.analysis.agreement import agreement, regret
from studies.criteria.analysis.table import Trained
from studies.criteria.design.names import Columns

Array = NDArray[np.float64]
MODES = {"joint": "all together", "one_shot": "a random plan an update"}
NOTHING = "parameters kept"


@dataclass(frozen=True)
class Ranked:
    """One score on some plans of one task.

    Attributes:
        spearman: with minus the mean evaluation loss.
        regret: accuracy of the best plan less that of the best-scored one.
        seeds: Spearman of the score's two seeds with each other; None of what has none.
        cost: seconds, as a share of one training of the all-LoRA plan.
    """

    spearman: float
    regret: float
    seeds: float | None = None
    cost: float | None = None


def ranked(trained: Trained, lines: Sequence[Columns], training: float) -> dict[str, Ranked]:
    """Every score on these plans; `training` is the seconds of one.

    Plans whose modules have other sizes (`small`) are left out, and so are those that were not
    scored.
    """
    places = [
        place
        for place, own in enumerate(trained.columns)
        if own["rule"] != "small" and trained.layers[place] in lines[0]["plans"]
    ]
    own = trained.take(places)
    kept = own.kept.astype(np.float64)
    found = {
        NOTHING: Ranked(agreement(kept, own.loss).spearman, _regret(kept, own)),
    }
    for mode, words in MODES.items():
        of_mode = [line for line in lines if line["mode"] == mode]
        for name in of_mode[0]["scores"] if of_mode else ():
            seeds = [_scores(line, name, own) for line in of_mode]
            mean = np.mean(seeds, axis=0)
            cost = float(np.mean([line["seconds"] for line in of_mode])) / training
            alike = agreement(seeds[0], seeds[1][:, None]).spearman if len(seeds) > 1 else None
            rho = agreement(mean, own.loss).spearman
            found[f"{name}, {words}"] = Ranked(rho, _regret(mean, own), alike, cost)
    return found


def _scores(line: Columns, name: str, trained: Trained) -> Array:
    """One seed's, in the plans' order."""
    by_word = dict(zip(line["plans"], line["scores"][name], strict=True))
    return np.array([by_word[word] for word in trained.layers])


def _regret(scores: Array, trained: Trained) -> float:
    return regret(int(scores.argmax()), trained.score)
