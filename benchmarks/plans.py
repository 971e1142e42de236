"""Whether measuring in bfloat16 chooses other plans and rates than measuring in float32.

    python -m benchmarks.plans [--tasks sst2 mrpc snli stsb]

Needs the rows of `studies/recipe/study.yaml` and the default pipeline's encoder. Every criterion's
plan and every kind's rate from a table of either precision; `reports/benchmarks.md` gets a part.
"""

from __future__ import annotations

import argparse

from tqdm import tqdm

from benchmarks.report import machine, write_part
from fishpal.api.steps import Measurement, measure, select
from fishpal.common.kinds import CriterionName
from fishpal.params.methods import ByCriterion
from fishpal.params.options import FisherOptions, SelectOptions, TrainOptions
from fishpal.records.plan import Plan
from fishpal.reporting.markdown import table
from fishpal.selection.rates import resolve_rates
from studies.cells.sources import project_encoder
from studies.rates.settings import KINDS
from studies.recipe.trainings import task_of

UPDATES = 128  # that rates are for
PRECISIONS = ("float32", "bfloat16")
HEADER = ("task", "plans the same", "layers that differ", "a trace, at most", "a rate, at most")


def measurement(name: str, precision: str) -> Measurement:
    """The table of a task, without a pilot."""
    task, _ = task_of(name)
    options = FisherOptions(precision=precision)  # type: ignore[arg-type]
    training = TrainOptions(updates=UPDATES, pilot=False, device="cpu")
    return measure(project_encoder(), task, options, training=training)


def plans_of(found: Measurement) -> dict[str, Plan]:
    """Every criterion's plan, never a fallback."""
    options = SelectOptions(fallback=None)
    return {each: select(found, ByCriterion(criterion=each), options) for each in CriterionName}


def furthest(one: dict[str, float], other: dict[str, float]) -> float:
    """The largest relative difference."""
    return max(abs(other[key] / value - 1) for key, value in one.items())


def traces_of(found: Measurement) -> dict[str, float]:
    return {str(row.key): row.trace for row in found.table.rows}


def rates_of(found: Measurement) -> dict[str, float]:
    """Every kind's own rate at every layer."""
    resolved = resolve_rates(found.rates, found.table, found.grams, UPDATES).rates
    return {kind: getattr(resolved, kind) for kind in KINDS}


def row_of(name: str) -> list[str]:
    one, other = (measurement(name, precision) for precision in PRECISIONS)
    first, second = plans_of(one), plans_of(other)
    apart = {
        criterion: sum(a != b for a, b in zip(plan.layers, second[criterion].layers, strict=True))
        for criterion, plan in first.items()
    }
    same = sum(not count for count in apart.values())
    others = ", ".join(f"{criterion} {count}" for criterion, count in apart.items() if count)
    shifts = [furthest(read(one), read(other)) for read in (traces_of, rates_of)]
    return [name, f"{same} of {len(apart)}", others or "none", *(f"{x:.1%}" for x in shifts)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Plans of bfloat16 against plans of float32.")
    parser.add_argument("--tasks", nargs="+", default=["sst2", "mrpc", "snli", "stsb"])
    given = parser.parse_args()
    rows = [row_of(name) for name in tqdm(given.tasks, desc="tasks", disable=None)]
    text = (
        f"Prefix, adapter and LoRA measured on {FisherOptions().examples} examples a task in"
        f" float32 and in bfloat16, on {machine()}; the plans of {len(CriterionName)} criteria"
        " from either, and the kinds' rates.\n\n"
    )
    write_part("Benchmarks of measuring in bfloat16: plans", text + table(HEADER, rows) + "\n")


if __name__ == "__main__":
    main()
