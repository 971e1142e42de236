"""Choose one method's plan for a task from its Fisher table."""

from __future__ import annotations

from fishpal.common.errors import PlanError
from fishpal.params.load import Params
from fishpal.records.fisher_table import FisherTable
from fishpal.records.grams import Grams
from fishpal.selection.methods import select_plan
from stages.runner import ARTIFACTS, check_cell, run, seconds_to


def main(params: Params, task: str, method: str) -> None:
    check_cell(params, task, method)
    with seconds_to(ARTIFACTS / "seconds" / "select" / task / f"{method}.json"):
        table_path = ARTIFACTS / "fisher" / f"{task}.json"
        kernels_path = table_path.with_suffix(".safetensors")
        table, grams = FisherTable.load(table_path), Grams.load(kernels_path)
        if len(grams.logits) != table.examples:
            raise PlanError(
                f"{kernels_path}: is of {len(grams.logits)} examples; allowed: those of the table,"
                f" {table.examples}"
            )
        plan = select_plan(
            table,
            grams,
            method,
            params.method(method),
            params.select,
            params.train.learning_rate,
        )
        plan.save(ARTIFACTS / "plans" / task / f"{method}.json")


if __name__ == "__main__":
    run(main, "task", "method")
