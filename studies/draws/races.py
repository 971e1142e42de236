"""The tables of reports/race.md: what races decide, over draws of the rows."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from scipy import stats

from fishpal.reporting.markdown import code, letters, table
from studies.cells.answers import points, spread
from studies.cells.store import Line
from studies.criteria.design.plans import KINDS
from studies.draws.settings import Grid
from studies.draws.trainings import CHOSEN, by_method, plans_of

CONFIDENCE = 0.95


class Draws:
    """A task's draws of a grid that are complete: what was chosen, and every method's score."""

    def __init__(self, grid: Grid, task: str) -> None:
        self.chosen: list[Line] = []
        self.lines: list[dict[str, list[Line]]] = []
        for chosen in CHOSEN.find(grid=grid.name, task=task):
            found = by_method(grid, chosen)
            if found.keys() >= set(grid.methods):
                self.chosen.append(chosen)
                self.lines.append(found)

    def __len__(self) -> int:
        return len(self.chosen)

    def by_draw(self, method: str) -> dict[int, float]:
        """Draw → `scores`."""
        numbers = (line["draw"] for line in self.chosen)
        return dict(zip(numbers, self.scores(method).tolist(), strict=True))

    def scores(self, method: str) -> np.ndarray:
        """Mean over seeds, a draw each, times 100."""
        found = [[line["score"] for line in each[method]] for each in self.lines]
        return 100 * np.mean(found, axis=1)

    def best_kind(self) -> str:
        """Of the highest mean score over the draws: what nobody knows beforehand."""
        return max(KINDS, key=lambda kind: float(self.scores(kind).mean()))

    def updates(self) -> list[int]:
        """Of a training, a draw each."""
        return [line["pilot"]["updates"] for line in self.chosen]

    def cost(self) -> float:
        """Of the pilot, in trainings, in the mean."""
        spent = [sum(a["curve"][-1]["update"] for a in c["pilot"]["arms"]) for c in self.chosen]
        return float(np.mean(np.array(spent) / self.updates()))


def over_draws(difference: np.ndarray) -> str:
    """Mean with the t interval over draws, which holds what the draw of train's rows does.

    Seed and reported rows are those of every draw, and their error is not in it.
    """
    if not difference.any():
        return "0.0"
    half = stats.t.ppf((1 + CONFIDENCE) / 2, len(difference) - 1) * stats.sem(difference)
    return points(difference.mean(), difference.mean() - half, difference.mean() + half)


def scores_table(grid: Grid) -> str:
    """A row a task: every method's score over draws."""
    rows = []
    for task, draws in tasks_of(grid):
        found = {m: draws.scores(m) for m in grid.methods}
        best = max(found.values(), key=lambda each: float(each.mean()))
        cells = [spread(each, bold=each is best) for each in found.values()]
        rows.append([code(task), str(len(draws)), *cells])
    return table(["task", "draws", *map(code, grid.methods)], rows)


def decisions_table(grid: Grid, method: str = "fishpal") -> str:
    """A row a task: what was chosen, and how it did against the best kind in hindsight."""
    rows = []
    for task, draws in tasks_of(grid):
        best, own = draws.best_kind(), draws.scores(method)
        each = np.max([draws.scores(kind) for kind in KINDS], axis=0)
        against = own - draws.scores(best)
        words = [_word(plans_of(line)[method].layers) for line in draws.chosen]
        low, high = min(draws.updates()), max(draws.updates())
        rows.append(
            [code(task), _counted(words), best, over_draws(against), f"{against.min():+.1f}"]
            + [f"{(own - each).mean():+.1f}", f"{low}–{high}", f"{draws.cost():.1f}"]
        )
    header = ["task", "chosen", "best kind", "less it", "worst draw", "less each draw's best"]
    return table([*header, "updates", "pilot, trainings"], rows)


def always_table(grid: Grid, method: str = "fishpal") -> str:
    """A row a kind: what the method gains on taking that kind for every task, over all draws.

    The last row is against each task's best kind in hindsight.
    """
    found = [draws for _, draws in tasks_of(grid)]
    rows = []
    for kind in [*KINDS, "each task's best kind"]:
        against = [kind if kind in KINDS else draws.best_kind() for draws in found]
        pairs = zip(found, against, strict=True)
        gains = [draws.scores(method) - draws.scores(other) for draws, other in pairs]
        means = [f"{gain.mean():+.1f}" for gain in gains]
        every = np.concatenate(gains)
        rows.append([kind, over_draws(every), f"{(every > 0).sum()}–{(every < 0).sum()}", *means])
    tasks = [code(task) for task, _ in tasks_of(grid)]
    return table(["instead of", "all draws", "better–worse", *tasks], rows)


def tasks_of(grid: Grid) -> list[tuple[str, Draws]]:
    """Its tasks with two draws or more, which a spread needs."""
    found = ((task, Draws(grid, task)) for task in grid.tasks)
    return [(task, draws) for task, draws in found if len(draws) > 1]


def _word(layers: Sequence[str | None]) -> str:
    if len(set(layers)) == 1:
        return str(layers[0])
    return code("".join(map(letters, layers)))


def _counted(words: Iterable[str]) -> str:
    return ", ".join(f"{n} × {word}" for word, n in Counter(words).most_common())
