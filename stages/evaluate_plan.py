"""Evaluate one trained cell on the task's evaluation splits."""

from __future__ import annotations

from dataclasses import asdict

from fishpal.params.load import Params
from fishpal.records.finished import Finished, Outputs, result_key
from fishpal.records.paths import PLAN, TASK
from fishpal.records.plan import Plan
from stages.runner import ARTIFACTS, check_cell, importing, parse_seed, run, started

Cell = tuple[str, str, int]


def main(params: Params, task: str, method: str, seed: str) -> None:
    check_cell(params, task, method)
    cell = (task, method, parse_seed(seed))
    if started() > 1:
        _evaluate(params, cell)
        return
    note, outputs = ARTIFACTS.finished(_key(params, cell)), Outputs(ARTIFACTS.evaluated(*cell))
    if twin := Finished.find(note):
        twin.take_over(outputs)
        return
    _evaluate(params, cell)
    Finished.of(outputs).save(note)


def _key(params: Params, cell: Cell) -> str:
    """Of all that decides the scores: equal plans with one seed have equal ones."""
    tokens, trained = ARTIFACTS.tokens(cell[0]), ARTIFACTS.trained(*cell)
    plan, options = Plan.load(trained / PLAN), asdict(params.evaluate)
    parts = [plan.trained_by(), options, params.task(cell[0]).metrics]
    folders = (trained, tokens / "evaluation", ARTIFACTS.encoder)
    files = [path for folder in folders for path in sorted(folder.glob("*")) if path.is_file()]
    return result_key(parts, [tokens / TASK, *(path for path in files if path.name != PLAN)])


def _evaluate(params: Params, cell: Cell) -> None:
    with importing():
        from fishpal.evaluation.cell import evaluate_cell

    folders = (ARTIFACTS.trained(*cell), ARTIFACTS.encoder, ARTIFACTS.tokens(cell[0]))
    found = evaluate_cell(*folders, params.evaluate, params.task(cell[0]).metrics)
    if found:
        metrics, predictions = found
        predictions.save(ARTIFACTS.predictions(*cell))
        metrics.save(ARTIFACTS.metrics(*cell))


if __name__ == "__main__":
    run(main, "task", "method", "seed", processes=lambda params: params.evaluate.processes)
