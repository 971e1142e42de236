"""Choose one method's plan for a task from its Fisher table."""

from __future__ import annotations

from fishpal.common.errors import PlanError
from fishpal.params.load import Params
from fishpal.records.fisher_table import FisherTable
from fishpal.records.grams import Grams
from fishpal.records.pilot import Pilot
from fishpal.selection.methods import select_plan
from stages.runner import ARTIFACTS, check_cell, run, seconds_to


def main(params: Params, task: str, method: str) -> None:
    check_cell(params, task, method)
    with seconds_to(ARTIFACTS.seconds("select", task, method)):
        table, grams = FisherTable.load(ARTIFACTS.fisher(task)), Grams.load(ARTIFACTS.grams(task))
        if len(grams.logits) != table.examples:
            found, allowed = len(grams.logits), f"those of the table, {table.examples}"
            raise PlanError(f"{ARTIFACTS.grams(task)}: is of {found} examples; allowed: {allowed}")
        plan = select_plan(
            table,
            grams,
            method,
            params.method(method),
            params.select,
            params.train.learning_rate,
            Pilot.load(ARTIFACTS.pilot(task)),
        )
        plan.save(ARTIFACTS.plan(task, method))


if __name__ == "__main__":
    run(main, "task", "method")
