"""Trainings whose every look is noted on the selection and the evaluation part."""

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import numpy as np

from fishpal.api.steps import start
from fishpal.api.task import Task
from fishpal.metrics import metric
from fishpal.models.batching import endless_batches
from fishpal.models.predict import decide, predict
from fishpal.params.options import LearningRates, TrainOptions
from fishpal.records.examples import Example, lengths
from fishpal.records.plan import Plan, Reason
from fishpal.selection.rates import LAWS
from fishpal.training.average import Average
from fishpal.training.run import TrainingRun
from fishpal.training.train import start_accelerator
from studies.cells.sources import drawn_task, project_encoder
from studies.cells.store import Line, Store
from studies.recipe.rules import Logits, Look, outcomes
from studies.recipe.settings import ROOM, Cell, Settings, load_settings

TRAINED = Store(ROOM / "results" / "trained.jsonl")


@cache
def task_of(name: str) -> tuple[Task, list[Example]]:
    """The task's fit and selection parts, and evaluation rows drawn at random."""
    settings, encoder = load_settings(), project_encoder()
    task, drawn = drawn_task(name, settings.tasks[name], settings.rows)
    facts = task.tokenised(encoder).facts
    standardise = None if facts.labels else facts.standardise
    return task, drawn.examples(encoder, standardise=standardise)


def plan_of(settings: Settings, cell: Cell, kind: str) -> Plan:
    """One kind at every layer at its usual rate, LoRA's by the length."""
    rate = settings.rates[kind] * LAWS[kind].by_length(cell.updates)
    facts, layers = project_encoder().facts, (kind,) * project_encoder().facts.layers
    rates = LearningRates(**{kind: rate})
    return Plan(cell.task, "uniform", facts, layers, Reason("uniform"), learning_rate=rates)


def run_training(settings: Settings, cell: Cell, kind: str) -> None:
    """Train one cell and keep its line."""
    columns = asdict(cell) | {"kind": kind}
    if TRAINED.find(**columns):
        return
    begin = time.process_time()
    (task, evaluation), encoder = task_of(cell.task), project_encoder()
    tokens, plan = task.tokenised(encoder), plan_of(settings, cell, kind)
    schedule: Any = "constant" if cell.constant else "linear"
    options = TrainOptions(
        updates=cell.updates, encoder_dropout=cell.dropout, schedule=schedule, device="cpu"
    )
    model = start(encoder, task, plan, cell.seed).module
    accelerator = start_accelerator(options, cell.seed)
    run = TrainingRun(model, plan, tokens, options, accelerator, cell.updates)

    def look(update: int) -> Look:
        with run.passes():
            parts = (predict(model, p, tokens.facts) for p in (tokens.selection, evaluation))
            return Look(update, *parts)

    average = Average([p for p in model.parameters() if p.requires_grad])
    looks, means, rng = [look(0)], [look(0)], np.random.default_rng(cell.seed)
    due = {round(cell.updates * part / settings.looks) for part in range(1, settings.looks + 1)}
    batches = endless_batches(lengths(tokens.fit), options.batch_size, rng)
    for update, batch in zip(range(1, cell.updates + 1), batches, strict=False):
        run.step([tokens.fit[i] for i in batch], batch, (cell.seed, update))
        average.update()
        if update in due:
            looks.append(look(update))
        if update in due and cell.constant:
            with average.in_place():
                means.append(look(update))
    labels = [example.label for example in evaluation]
    chosen = [example.label for example in tokens.selection]
    score = scorer(task, tokens.facts, labels)
    found = outcomes(looks, chosen, labels, score)
    if cell.constant:
        of_means = outcomes(means, chosen, labels, score)
        found += [replace(o, rule=f"average, {o.rule}") for o in of_means if o.rule != "loss"]
    seconds = round(time.process_time() - begin, 1)
    TRAINED.add(columns | line_of(found) | {"precision": run.result.precision, "seconds": seconds})


def scorer(task: Task, facts: Any, labels: Any) -> Callable[[Logits], float]:
    """The task's main metric of logits; a regression's in standardised units."""
    main, truth = metric(task.spec.metrics[0]), np.array(labels)

    def score(logits: Logits) -> float:
        answers = decide(logits, facts) if facts.labels else logits[:, 0].astype(np.float64)
        return float(main(truth, answers, facts.outputs))

    return score


def line_of(found: list[Any]) -> Line:
    """Outcomes by rule, as a line has them."""
    return {
        "rules": {o.rule: {"update": o.update, "score": o.score, "loss": o.loss} for o in found}
    }
