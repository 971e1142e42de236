"""A trained folder → its scores and predictions."""

from collections.abc import Sequence
from pathlib import Path

from fishpal.common.errors import DataError, PlanError
from fishpal.encoders.encoder import load_encoder
from fishpal.evaluation.evaluate import evaluate
from fishpal.models.device import pick_device
from fishpal.models.precision import Passes, evaluation_precision
from fishpal.models.processes import Processes
from fishpal.models.trained import TrainedCard, load
from fishpal.params.options import EvaluateOptions
from fishpal.records.arrow import ArrowSplit
from fishpal.records.facts import TaskFacts
from fishpal.records.paths import CARD, TASK
from fishpal.records.results import CellMetrics, Predictions


def evaluate_cell(
    trained: Path, folder: Path, tokens: Path, options: EvaluateOptions, metrics: Sequence[str]
) -> tuple[CellMetrics, Predictions] | None:
    """What the model scores on the evaluation splits; None in all processes but the main one.

    Args:
        trained: the folder that a training left.
        folder: its encoder's.
        tokens: the task's tokenised splits.

    Raises:
        PlanError: a folder of another task, no splits, what a metric refuses.
    """
    facts, card = TaskFacts.load(tokens / TASK), TrainedCard.load(trained / CARD)
    if card.task != facts:
        raise PlanError(f"{trained}: is of task {card.task}; allowed: {facts}")
    device = pick_device(options.device)
    processes = Processes.started(device)
    encoder = load_encoder(folder).to(device)
    model = load(encoder, trained).requires_grad_(False)  # frozen weights are cast once
    paths = sorted((tokens / "evaluation").glob("*.arrow"))
    if not paths:
        raise PlanError(f"{tokens / 'evaluation'}: holds no splits; allowed: one .arrow or more")
    splits = [(path.stem, ArrowSplit(path).check(facts, encoder.limits)) for path in paths]
    precision = evaluation_precision(options.precision, card.precision, device)
    given = (model, splits, facts, metrics, options.batch_size)
    try:
        with Passes(model, precision)():
            scores, predictions = evaluate(*given, progress=True, processes=processes)
    except DataError as error:
        raise PlanError(f"{trained}: {error}") from error
    found = CellMetrics(scores, card.parameters, card.precision, precision)
    return (found, predictions) if processes.main else None
