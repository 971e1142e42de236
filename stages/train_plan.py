"""Train one cell: a task's plan of one method with one seed."""

from __future__ import annotations

from fishpal.models.device import pick_device
from fishpal.models.processes import Processes
from fishpal.params.load import Params
from fishpal.records.finished import Finished, Outputs
from fishpal.records.paths import PLAN
from fishpal.records.plan import Plan
from fishpal.records.results import Seconds
from fishpal.training.checkpoint import Checkpoint, cell_key
from stages.runner import ARTIFACTS, check_cell, importing, is_main, parse_seed, run, seconds_to

Cell = tuple[str, str, int]


def main(params: Params, name: str, method: str, given: str) -> None:
    check_cell(params, name, method)
    cell = (name, method, parse_seed(given))
    plan = Plan.read(ARTIFACTS.plan(name, method), name, method)
    processes = Processes.started(pick_device(params.train.device))
    own = (params.train, params.head, cell[2], processes.count, ARTIFACTS.read_by_training(name))
    files = (ARTIFACTS.curve(*cell), ARTIFACTS.seconds("train", *cell))
    outputs = Outputs(ARTIFACTS.trained(*cell), files, own=PLAN)
    key, whole = cell_key(plan, *own), None
    twin = Finished.find(ARTIFACTS.finished(key), own=PLAN)
    if processes.as_main(twin is not None):
        if twin and processes.main:
            twin.take_over(outputs, Plan.load(twin.outputs.folder / PLAN).named_as(plan))
        return
    if plan.compresses:  # all processes are on one machine, and find the same
        whole = Finished.find(ARTIFACTS.finished(cell_key(plan.whole(), *own)), own=PLAN)
    _train(params, plan, cell, key, outputs, whole)


def _train(
    params: Params, plan: Plan, cell: Cell, key: str, outputs: Outputs, whole: Finished | None
) -> None:
    with importing():
        from fishpal.training.cell import compress_cell, save_cell, train_cell
        from fishpal.training.train import device_name

    checkpoint = Checkpoint(ARTIFACTS.checkpoint(*cell), key)
    given = (plan, cell[2], ARTIFACTS.encoder, ARTIFACTS.tokens(cell[0]))
    before = Seconds.load(whole.outputs.files[1]).seconds if whole else 0.0
    with seconds_to(outputs.files[1], before) as note:
        note["device"] = device_name(params.train.device)
        if whole is None:
            found = train_cell(*given, params.head, params.train, checkpoint)
        else:
            found = compress_cell(whole.outputs, *given, params.train)
    if is_main():
        save_cell(*found, cell[2], outputs)
        checkpoint.remove()
        Finished.of(outputs).save(ARTIFACTS.finished(key))


if __name__ == "__main__":
    run(main, "task", "method", "seed", processes=lambda params: params.train.processes)
