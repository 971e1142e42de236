"""The tables of reports/thesis_table.md: plans and baselines at published and `auto` rates."""

from collections.abc import Iterator, Sequence

import numpy as np

from fishpal.records.plan import Plan
from fishpal.reporting.markdown import code, compact, letters, table
from studies.cells.answers import less, spread
from studies.cells.store import Line
from studies.criteria.design.plans import KINDS
from studies.draws.settings import Grid, params_of
from studies.draws.trainings import CHOSEN, by_method, plans_of

PUBLISHED = "published_"


def thesis_tables(grid: Grid) -> Iterator[str]:
    """Two tables a task: at the published rates, and at `auto` ones."""
    for task in grid.tasks:
        for chosen in CHOSEN.find(grid=grid.name, task=task):
            found = by_method(grid, chosen)
            common = [m for m in ("head", "full") if m in found]
            for title, methods in (
                ("published rates", [m for m in found if m.startswith(PUBLISHED)] + common),
                ("`auto` rates", [m for m in found if not m.startswith(PUBLISHED)]),
            ):
                updates = chosen["pilot"]["updates"]
                if not any(m.removeprefix(PUBLISHED) in KINDS for m in methods):
                    continue  # nothing to compare with
                yield f"{code(task)}, {updates} updates, {title}:"
                yield _table(chosen, {m: found[m] for m in methods})


def _table(chosen: Line, found: dict[str, list[Line]]) -> str:
    plans, seeds = plans_of(chosen), len(next(iter(found.values())))
    kinds = [m for m in found if m.removeprefix(PUBLISHED) in KINDS]
    best = found[max(kinds, key=lambda m: _mean(found[m]))]
    rows = []
    for method, lines in sorted(found.items(), key=lambda item: -_mean(item[1])):
        scores, plan = 100 * np.array([line["score"] for line in lines]), plans[method]
        word = "whole encoder" if plan.full else code("".join(map(letters, plan.layers)))
        rows.append(
            [code(method.removeprefix(PUBLISHED)), word, _rates(plan), spread(scores)]
            + [less(lines, best, seeds), f"{np.mean([line['loss'] for line in lines]):.3f}"]
            + [compact(lines[0]["kept"])]
        )
    header = ["method", "plan", "rates", "accuracy", "less the best kind", "loss", "kept"]
    return table(header, rows)


def lost_table(grids: Sequence[Grid]) -> str:
    """A row a kind and grid: every seed's score."""
    rows = []
    for grid in grids:
        for chosen in CHOSEN.find(grid=grid.name):
            for method, lines in by_method(grid, chosen).items():
                plan = plans_of(chosen)[method]
                scores = ", ".join(f"{100 * line['score']:.1f}" for line in lines)
                led = sum(bool(line.get("collapsed")) for line in lines)
                recovers = params_of(grid.name).train.recover
                way, led_back = ("yes", str(led)) if recovers else ("no", "")
                rows.append([method, _rates(plan), way, scores, led_back])
    return table(["kind", "rate", "`recover`", "accuracy, a seed each", "seeds led back"], rows)


def _rates(plan: Plan) -> str:
    """Of its modules, in the order of their letters; of the whole encoder."""
    rates = [plan.rate("full")] if plan.full else [plan.rate(kind) for kind in plan.kinds]
    return ", ".join(f"{rate:.2g}" for rate in rates)


def _mean(lines: Sequence[Line]) -> float:
    return float(np.mean([line["score"] for line in lines]))
