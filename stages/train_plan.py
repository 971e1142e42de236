"""Train one cell: a task's plan of one method with one seed."""

from __future__ import annotations

from dataclasses import asdict

from fishpal.common.files import write_csv
from fishpal.encoders.encoder import config_of, fingerprint, load_encoder
from fishpal.encoders.pooling import load_pooling
from fishpal.encoders.specs import limits_of
from fishpal.models.head import start_head
from fishpal.models.planned import plan_model
from fishpal.models.trained import save
from fishpal.params.load import Params
from fishpal.records.examples import ArrowSplit, TaskFacts
from fishpal.records.plan import Plan
from fishpal.training.checkpoint import Checkpoint, training_key
from fishpal.training.train import train
from stages.runner import ARTIFACTS, check_cell, parse_seed, run, seconds_to


def main(params: Params, task: str, method: str, seed: str) -> None:
    check_cell(params, task, method)
    number = parse_seed(seed)
    cell, tokens = f"{task}/{method}/{seed}", ARTIFACTS / "tokens" / task
    with seconds_to(ARTIFACTS / "seconds" / "train" / f"{cell}.json"):
        encoder, pooling = load_encoder(ARTIFACTS / "encoder"), load_pooling(ARTIFACTS / "encoder")
        sha256 = fingerprint(encoder)
        facts, limits = TaskFacts.load(tokens / "task.json"), limits_of(config_of(encoder))
        fit = ArrowSplit(tokens / "fit.arrow").check(facts, limits)
        selection = ArrowSplit(tokens / "selection.arrow").check(facts, limits)
        plan = Plan.load(ARTIFACTS / "plans" / task / f"{method}.json", task, method)
        head = start_head(encoder, pooling, facts, fit, params.head)
        model = plan_model(encoder, head, plan, pooling, number, params.train.train_head)
        parts = [plan.to_json(), asdict(params.train), asdict(params.head), number, sha256, pooling]
        files = [tokens / name for name in ("task.json", "fit.arrow", "selection.arrow")]
        # Beside the outputs, which DVC removes before a stage runs.
        path = ARTIFACTS / "checkpoints" / f"{cell}.safetensors"
        checkpoint = Checkpoint(path, training_key(parts, files))
        rest = params.train, number
        result = train(model, plan, fit, selection, facts, *rest, checkpoint=checkpoint)
    rows = [
        (p.update, f"{p.epoch:.6g}", "" if p.fit_loss is None else p.fit_loss, p.selection_loss)
        for p in result.curve
    ]
    header = ("update", "epoch", "fit_loss", "selection_loss")
    write_csv(ARTIFACTS / "curves" / f"{cell}.csv", header, rows)
    save(
        model,
        plan,
        ARTIFACTS / "trained" / cell,
        task=facts,
        seed=number,
        encoder_sha256=sha256,
        best_update=result.best_update,
    )
    checkpoint.remove()


if __name__ == "__main__":
    run(main, "task", "method", "seed")
