"""Train one cell: a task's plan of one method with one seed."""

from __future__ import annotations

from dataclasses import asdict

from fishpal.encoders.encoder import load_encoder
from fishpal.models.classifier import pick_device
from fishpal.models.head import start_head
from fishpal.models.planned import plan_model
from fishpal.models.processes import Processes
from fishpal.models.trained import save
from fishpal.params.load import Params
from fishpal.records.plan import Plan
from fishpal.records.results import Curve
from fishpal.records.task import FIT, SELECTION, TASK, TokenisedTask
from fishpal.training.checkpoint import Checkpoint, decisive, training_key
from fishpal.training.finished import Finished, Outputs
from fishpal.training.train import device_name, train
from stages.runner import ARTIFACTS, check_cell, is_main, parse_seed, run, seconds_to

Cell = tuple[str, str, int]


def main(params: Params, name: str, method: str, given: str) -> None:
    check_cell(params, name, method)
    cell = (name, method, parse_seed(given))
    plan = Plan.read(ARTIFACTS.plan(name, method), name, method)
    processes = Processes.started(pick_device(params.train.device))
    parts = [*decisive(plan, params.train), asdict(params.head), cell[2], processes.count]
    tokens = [ARTIFACTS.tokens(name) / part for part in (TASK, FIT, SELECTION)]
    key = training_key(parts, [*tokens, *sorted(ARTIFACTS.encoder.glob("*"))])
    files = (ARTIFACTS.curve(*cell), ARTIFACTS.seconds("train", *cell))
    outputs, twin = Outputs(ARTIFACTS.trained(*cell), files), Finished.find(ARTIFACTS.finished(key))
    if not processes.as_main(twin is not None):
        _train(params, plan, cell, key, outputs)
    elif twin and processes.main:
        twin.take_over(plan, outputs)


def _train(params: Params, plan: Plan, cell: Cell, key: str, outputs: Outputs) -> None:
    name, _, seed = cell
    with seconds_to(ARTIFACTS.seconds("train", *cell)) as note:
        encoder = load_encoder(ARTIFACTS.encoder)
        task = TokenisedTask.load(ARTIFACTS.tokens(name), encoder.limits)
        head = start_head(encoder, task, params.head)
        note["device"] = device_name(params.train.device)
        model = plan_model(encoder, head, plan, seed, params.train.train_head, task)
        checkpoint = Checkpoint(ARTIFACTS.checkpoint(*cell), key)
        result = train(model, plan, task, params.train, seed, checkpoint=checkpoint)
    if is_main():
        Curve(tuple(result.curve)).save(ARTIFACTS.curve(*cell))
        best, precision, trained = result.best_update, result.precision, outputs.trained
        save(model, plan, trained, task=task.facts, seed=seed, best=best, precision=precision)
        checkpoint.remove()
        Finished.of(outputs).save(ARTIFACTS.finished(key))


if __name__ == "__main__":
    run(main, "task", "method", "seed", processes=lambda params: params.train.processes)
