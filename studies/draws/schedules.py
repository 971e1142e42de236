"""The table of reports/race.md that holds averaged trainings against those whose rate falls."""

import numpy as np

from fishpal.reporting.markdown import code, table
from studies.criteria.design.plans import KINDS
from studies.draws.races import Draws, over_draws, tasks_of
from studies.draws.settings import Grid


def schedules_table(falling: Grid, averaged: Grid) -> str:
    """A row a task: what averages gain, each kind on the same draws, and in the mean of kinds."""
    found = dict(tasks_of(averaged))
    pairs = [(task, first, found[task]) for task, first in tasks_of(falling) if task in found]
    every: list[np.ndarray] = []
    rows = []
    for task, first, second in pairs:
        own = [_gains(first, second, kind) for kind in KINDS]
        every.append(np.mean(own, axis=0))
        lengths = [min(first.updates()), max(first.updates())]
        rows.append(
            [code(task), str(len(every[-1])), "–".join(map(str, dict.fromkeys(lengths)))]
            + [f"{each.mean():+.1f}" for each in own]
            + [over_draws(every[-1])]
        )
    rows.append(["all", str(sum(map(len, every))), "", *[""] * len(KINDS)])
    rows[-1].append(over_draws(np.concatenate(every)))
    return table(["task", "draws", "updates", *KINDS, "mean of the three"], rows)


def _gains(falling: Draws, averaged: Draws, kind: str) -> np.ndarray:
    """Points, of the draws that both have."""
    before, after = falling.by_draw(kind), averaged.by_draw(kind)
    return np.array([after[draw] - before[draw] for draw in sorted(before.keys() & after.keys())])
