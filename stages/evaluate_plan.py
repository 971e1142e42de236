"""Evaluate one trained cell on the task's evaluation splits."""

from __future__ import annotations

from fishpal.common.errors import DataError, PlanError
from fishpal.encoders.encoder import load_encoder
from fishpal.evaluation.evaluate import evaluate
from fishpal.models.classifier import pick_device
from fishpal.models.precision import Passes, evaluation_precision
from fishpal.models.processes import Processes
from fishpal.models.trained import CARD, TrainedCard, load
from fishpal.params.load import Params
from fishpal.records.arrow import ArrowSplit
from fishpal.records.facts import TaskFacts
from fishpal.records.results import CellMetrics
from fishpal.records.task import TASK
from stages.runner import ARTIFACTS, check_cell, parse_seed, run


def main(params: Params, task: str, method: str, seed: str) -> None:
    check_cell(params, task, method)
    cell = (task, method, parse_seed(seed))
    tokens, trained = ARTIFACTS.tokens(task), ARTIFACTS.trained(*cell)
    facts, card = TaskFacts.load(tokens / TASK), TrainedCard.load(trained / CARD)
    if card.task != facts:
        raise PlanError(f"{trained}: is of task {card.task}; allowed: {facts}")
    device = pick_device(params.evaluate.device)
    processes = Processes.started(device)
    encoder = load_encoder(ARTIFACTS.encoder).to(device)
    model = load(encoder, trained)
    paths = sorted((tokens / "evaluation").glob("*.arrow"))
    if not paths:
        raise PlanError(f"{tokens / 'evaluation'}: holds no splits; allowed: one .arrow or more")
    splits = [(path.stem, ArrowSplit(path).check(facts, encoder.limits)) for path in paths]
    metrics, batch_size = params.task(task).metrics, params.evaluate.batch_size
    precision = evaluation_precision(params.evaluate.precision, card.precision, device)
    try:
        with Passes(model, precision)():
            scores, predictions = evaluate(
                model, splits, facts, metrics, batch_size, progress=True, processes=processes
            )
    except DataError as error:
        raise PlanError(f"{trained}: {error}") from error
    if not processes.main:
        return
    predictions.save(ARTIFACTS.predictions(*cell))
    found = CellMetrics(scores, card.parameters, card.precision, precision)
    found.save(ARTIFACTS.metrics(*cell))


if __name__ == "__main__":
    run(main, "task", "method", "seed", processes=lambda params: params.evaluate.processes)
