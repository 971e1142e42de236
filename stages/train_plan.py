"""Train one cell: a task's plan of one method with one seed."""

from __future__ import annotations

from fishpal.models.device import pick_device
from fishpal.models.processes import Processes
from fishpal.params.load import Params
from fishpal.records.finished import Finished, Outputs
from fishpal.records.paths import PLAN
from fishpal.records.plan import Plan
from fishpal.training.checkpoint import Checkpoint, cell_key
from stages.runner import ARTIFACTS, check_cell, importing, is_main, parse_seed, run, seconds_to

Cell = tuple[str, str, int]


def main(params: Params, name: str, method: str, given: str) -> None:
    check_cell(params, name, method)
    cell = (name, method, parse_seed(given))
    plan = Plan.read(ARTIFACTS.plan(name, method), name, method)
    processes = Processes.started(pick_device(params.train.device))
    own = (cell[2], processes.count, ARTIFACTS.read_by_training(name))
    key = cell_key(plan, params.train, params.head, *own)
    files = (ARTIFACTS.curve(*cell), ARTIFACTS.seconds("train", *cell))
    outputs = Outputs(ARTIFACTS.trained(*cell), files, own=PLAN)
    twin = Finished.find(ARTIFACTS.finished(key), own=PLAN)
    if not processes.as_main(twin is not None):
        _train(params, plan, cell, key, outputs)
    elif twin and processes.main:
        twin.take_over(outputs, plan)


def _train(params: Params, plan: Plan, cell: Cell, key: str, outputs: Outputs) -> None:
    with importing():
        from fishpal.training.cell import save_cell, train_cell
        from fishpal.training.train import device_name

    tokens, checkpoint = ARTIFACTS.tokens(cell[0]), Checkpoint(ARTIFACTS.checkpoint(*cell), key)
    with seconds_to(ARTIFACTS.seconds("train", *cell)) as note:
        note["device"] = device_name(params.train.device)
        given = (plan, cell[2], ARTIFACTS.encoder, tokens, params.head, params.train, checkpoint)
        model, facts, result = train_cell(*given)
    if is_main():
        save_cell(model, plan, cell[2], facts, result, outputs)
        checkpoint.remove()
        Finished.of(outputs).save(ARTIFACTS.finished(key))


if __name__ == "__main__":
    run(main, "task", "method", "seed", processes=lambda params: params.train.processes)
