"""Train one cell: a task's plan of one method with one seed."""

from __future__ import annotations

from dataclasses import asdict

from fishpal.encoders.encoder import config_of, fingerprint, load_encoder
from fishpal.encoders.pooling import load_pooling
from fishpal.encoders.specs import limits_of
from fishpal.models.head import start_head
from fishpal.models.planned import plan_model
from fishpal.models.trained import save
from fishpal.params.load import Params
from fishpal.records.examples import ArrowSplit, TaskFacts
from fishpal.records.plan import Plan
from fishpal.records.results import Curve
from fishpal.training.checkpoint import Checkpoint, training_key
from fishpal.training.train import train
from stages.runner import ARTIFACTS, check_cell, run, seconds_to


def main(params: Params, task: str, method: str, seed: str) -> None:
    number = check_cell(params, task, method, seed)
    tokens, trained = ARTIFACTS.tokens(task), ARTIFACTS.trained(task, method, seed)
    with seconds_to(ARTIFACTS.seconds("train", task, method, seed)):
        encoder, pooling = load_encoder(ARTIFACTS.encoder), load_pooling(ARTIFACTS.encoder)
        sha256 = fingerprint(encoder)
        facts, limits = TaskFacts.load(tokens / "task.json"), limits_of(config_of(encoder))
        fit = ArrowSplit(tokens / "fit.arrow").check(facts, limits)
        selection = ArrowSplit(tokens / "selection.arrow").check(facts, limits)
        plan = Plan.load(ARTIFACTS.plan(task, method), task, method)
        head = start_head(encoder, pooling, facts, fit, params.head)
        model = plan_model(encoder, head, plan, pooling, number, params.train.train_head)
        parts = [plan.to_json(), asdict(params.train), asdict(params.head), number, sha256, pooling]
        files = [tokens / name for name in ("task.json", "fit.arrow", "selection.arrow")]
        key = training_key(parts, files)
        checkpoint = Checkpoint(ARTIFACTS.checkpoint(task, method, seed), key)
        rest = params.train, number
        result = train(model, plan, fit, selection, facts, *rest, checkpoint=checkpoint)
    Curve(tuple(result.curve)).save(ARTIFACTS.curve(task, method, seed))
    save(
        model,
        plan,
        trained,
        task=facts,
        seed=number,
        encoder_sha256=sha256,
        best_update=result.best_update,
    )
    checkpoint.remove()


if __name__ == "__main__":
    run(main, "task", "method", "seed")
