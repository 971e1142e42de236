"""The tables of reports/regime.md that the study makes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fishpal.reporting.markdown import code, table
from studies.cells.answers import less, spread
from studies.cells.store import Line
from studies.criteria.analysis.agreement import agreement, variance
from studies.criteria.design.names import letter
from studies.criteria.design.plans import KINDS
from studies.marked_part import write_part
from studies.regime.settings import Settings
from studies.regime.signals import MEASURED
from studies.regime.trainings import TRAINED, best_of

REPORT = Path("reports/regime.md")
FEWEST = 6  # plans, of which ±0.8 is still chance


def write_report(settings: Settings) -> None:
    """Replace what stands between the marks in the report."""
    lines = TRAINED.lines()
    swept = {task: chosen(task, lines) for task in settings.tasks}
    swept = {task: found for task, found in swept.items() if found.keys() >= set(KINDS)}
    parts = [rates_table(list(swept), lines)]
    for task, found in swept.items():
        parts += [f"{code(task)}:", plans_table(found), findings(task, found)]
    write_part(REPORT, "studies/regime", "\n\n".join(parts))


def rates_table(tasks: Sequence[str], lines: Sequence[Line]) -> str:
    """A row a kind and rate: loss and score of seed 0 on every task."""
    uniform = [line for line in lines if line["rate"] and line["seed"] == 0]
    rows = []
    for kind, rate in sorted({(line["plan"], line["rate"]) for line in uniform}):
        cells = []
        for task in tasks:
            own = [line for line in uniform if line["task"] == task and line["plan"] == kind]
            at = [line for line in own if line["rate"] == rate]
            cells.append(_cell(at[0], best_of(own)) if at else "")
        rows.append([kind, f"{rate:.3g}", *cells])
    return table(["kind", "peak rate", *map(code, tasks)], rows)


def _cell(line: Line, best: Line) -> str:
    if line["diverged"]:
        return "diverged"
    text = f"{line['loss']:.3f} ({100 * line['score']:.1f})"
    return f"**{text}**" if line is best else text


def chosen(task: str, lines: Sequence[Line]) -> dict[str, list[Line]]:
    """Plan → its trainings by seed, each kind at its best rate of seed 0."""
    own = [line for line in lines if line["task"] == task and not line["diverged"]]
    found: dict[str, list[Line]] = {}
    for plan in dict.fromkeys(line["plan"] for line in own):
        of_plan = [line for line in own if line["plan"] == plan]
        first = [line for line in of_plan if line["seed"] == 0]
        if not first:  # plans are compared on their common seeds, which begin with this one
            continue
        rate = best_of(first)["rate"]
        seeds = [line for line in of_plan if line["rate"] == rate]
        found[plan] = sorted(seeds, key=lambda line: line["seed"])
    return found


def plans_table(found: dict[str, list[Line]]) -> str:
    """A row a plan, best mean loss first, less the best uniform one on their common seeds."""
    best = min((found[k] for k in KINDS if k in found), key=lambda each: _mean(each, "loss"))
    rows = []
    for name, lines in sorted(found.items(), key=lambda item: _mean(item[1], "loss")):
        seeds = min(len(lines), len(best))
        word = "".join(letter(kind) for kind in lines[0]["layers"])
        rows.append(
            [name, f"`{word}`", f"{lines[0]['kept']:,}", str(len(lines))]
            + [f"{_mean(lines, 'loss'):.3f}", spread(_scores(lines)), less(lines, best, seeds)]
        )
    header = ["plan", "layers", "kept", "seeds", "loss", "accuracy", "less the best kind's"]
    return table(header, rows)


def findings(task: str, found: dict[str, list[Line]]) -> str:
    """What plans explain over seeds, and how criteria rank them."""
    if not MEASURED.find(task=task):
        return "Criteria were not measured."
    (signal,) = MEASURED.find(task=task)
    plans = [name for name in signal["plans"] if name in found]
    if len(plans) < FEWEST:
        return f"{len(plans)} plans of full size: too few for what criteria say of them."
    seeds = min(len(found[name]) for name in plans)
    loss = -np.array([[line["loss"] for line in found[name][:seeds]] for name in plans])
    rhos = {
        name: agreement([values[signal["plans"].index(plan)] for plan in plans], loss).spearman
        for name, values in signal["scores"].items()
    }
    order = sorted(rhos.items(), key=lambda item: -item[1])
    ranks = ", ".join(f"{code(name)} {rho:+.2f}" for name, rho in order)
    text = f"Spearman's ρ with minus the loss over {len(plans)} plans of full size: {ranks}."
    if seeds > 1:
        split = variance(loss)
        most = np.sqrt(split.reliability(seeds))
        text += f" Plans explain {100 * split.share:.0f} % of the losses' variance over seeds"
        text += f" ({seeds} a plan), so that ρ could reach {most:.2f} at most."
    return text


def _mean(lines: Sequence[Line], column: str) -> float:
    return float(np.mean([line[column] for line in lines]))


def _scores(lines: Sequence[Line]) -> np.ndarray:
    return np.array([100 * line["score"] for line in lines])
