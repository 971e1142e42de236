"""Find how long a task's trainings have to be, and which kind learns best on it."""

from __future__ import annotations

from dataclasses import asdict

from fishpal.encoders.encoder import load_encoder
from fishpal.models.classifier import Classifier
from fishpal.models.head import start_head
from fishpal.models.planned import plan_model
from fishpal.params.load import Params
from fishpal.params.methods import Race
from fishpal.records.finished import result_key
from fishpal.records.fisher_table import FisherTable
from fishpal.records.grams import Grams
from fishpal.records.plan import Plan
from fishpal.records.task import TokenisedTask
from fishpal.selection.arms import pilot_plans
from fishpal.selection.methods import select_plan
from fishpal.training.cell import save_raced
from fishpal.training.checkpoint import Checkpoint, cell_key
from fishpal.training.pilot import SEED, run_pilot
from stages.runner import ARTIFACTS, run, seconds_to


def main(params: Params, name: str) -> None:
    params.task(name)
    table, grams = FisherTable.load(ARTIFACTS.fisher(name)), Grams.load(ARTIFACTS.grams(name))
    with seconds_to(ARTIFACTS.seconds("pilot", name)):
        task = TokenisedTask.load(ARTIFACTS.tokens(name), load_encoder(ARTIFACTS.encoder).limits)

        def start(plan: Plan) -> Classifier:
            encoder = load_encoder(ARTIFACTS.encoder)
            head = start_head(encoder, task, params.head)
            return plan_model(encoder, head, plan, SEED, params.train.train_head, task)

        race = params.train.race if params.train.has_pilot else None
        plans = pilot_plans(table, grams, params.train.learning_rate, race)
        parts = [[plan.to_json() for plan in plans], asdict(params.train), asdict(params.head)]
        key = result_key(parts, ARTIFACTS.read_by_training(name))
        checkpoint = Checkpoint(ARTIFACTS.pilot_checkpoint(name), key)
        raced = run_pilot(start, plans, task, params.train, checkpoint=checkpoint)
        raced.pilot.save(ARTIFACTS.pilot(name))
    if raced.pilot.averaged and raced.pilot.arms:  # a cell may find its training there
        rates = params.train.learning_rate
        plan = select_plan(table, grams, "pilot", Race(), params.select, rates, raced.pilot)
        given = (params.train, params.head, SEED, 1, ARTIFACTS.read_by_training(name))
        if kept := save_raced(raced, plan, task.facts, ARTIFACTS.raced(name), params.train.device):
            kept.save(ARTIFACTS.finished(cell_key(plan, *given)))
    checkpoint.remove()


if __name__ == "__main__":
    run(main, "task")
