"""Evaluate one trained cell on the task's evaluation splits."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pandas as pd

from fishpal.common.errors import PlanError
from fishpal.common.files import replacing, write_json
from fishpal.encoders.encoder import config_of, load_encoder
from fishpal.encoders.specs import limits_of
from fishpal.evaluation.metric_classes import compute_metrics
from fishpal.models.classifier import pick_device
from fishpal.models.predict import decide, mean_loss, predict
from fishpal.models.trained import load, load_card
from fishpal.params.load import Params
from fishpal.records.examples import ArrowSplit, TaskFacts
from stages.runner import ARTIFACTS, check_cell, parse_seed, run


def main(params: Params, task: str, method: str, seed: str) -> None:
    check_cell(params, task, method)
    parse_seed(seed)
    cell, tokens = f"{task}/{method}/{seed}", ARTIFACTS / "tokens" / task
    facts, card = TaskFacts.load(tokens / "task.json"), load_card(ARTIFACTS / "trained" / cell)
    if card.task != facts:
        raise PlanError(f"{ARTIFACTS / 'trained' / cell}: is of task {card.task}; allowed: {facts}")
    encoder = load_encoder(ARTIFACTS / "encoder").to(pick_device(params.evaluate.device))
    model = load(encoder, ARTIFACTS / "trained" / cell)
    metrics, frames = {}, []
    paths = sorted((tokens / "evaluation").glob("*.arrow"))
    if not paths:
        raise PlanError(f"{tokens / 'evaluation'}: holds no splits; allowed: one .arrow or more")
    for path in paths:
        split = ArrowSplit(path).check(facts, limits_of(config_of(encoder)))
        labels = np.array([example.label for example in split])
        logits = predict(model, split, facts, params.evaluate.batch_size, progress=True)
        if not np.isfinite(logits).all():
            raise PlanError(
                f"{ARTIFACTS / 'trained' / cell}: logits of {path.stem} are not finite; allowed:"
                " finite weights"
            )
        predictions = decide(logits, facts.labels is None)
        scores = compute_metrics(params.task(task).metrics, labels, predictions, facts.outputs)
        metrics[path.stem] = {"n": len(split), "loss": mean_loss(logits, split), **scores}
        columns = {"row": range(len(split)), "label": labels, "prediction": predictions}
        frames.append(pd.DataFrame(columns).assign(split=path.stem))
    with replacing(ARTIFACTS / "predictions" / f"{cell}.parquet") as draft:
        pd.concat(frames, ignore_index=True).to_parquet(draft, index=False)
    result = {"splits": metrics, "parameters": asdict(card.parameters)}
    write_json(ARTIFACTS / "metrics" / f"{cell}.json", result)


if __name__ == "__main__":
    run(main, "task", "method", "seed")
