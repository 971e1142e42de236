"""Scores and predictions of a trained model on a task's evaluation splits."""

from collections.abc import Iterable, Sequence

from fishpal.metrics import compute_metrics
from fishpal.models.classifier import Classifier
from fishpal.models.predict import check_finite, decide, mean_loss, predict
from fishpal.models.processes import ALONE, Processes
from fishpal.records.examples import Example, labels
from fishpal.records.facts import TaskFacts
from fishpal.records.results import Predictions


def evaluate(
    model: Classifier,
    splits: Iterable[tuple[str, Sequence[Example]]],
    task: TaskFacts,
    metrics: Sequence[str],
    batch_size: int = 64,
    *,
    progress: bool = False,
    processes: Processes = ALONE,
) -> tuple[dict[str, dict[str, float]], Predictions]:
    """Numbers by split (`n`, `loss`, then the metrics in their order), and the predictions.

    Args:
        splits: name and examples of each, a regression's labels in their own unit; read one
            after the other.
        metrics: names of `fishpal.metrics.METRICS`.
        processes: who share the batches; each returns all of it.

    Raises:
        DataError: logits that are not finite, or what a metric refuses.
        ParamsError: an unknown metric.
    """
    scores: dict[str, dict[str, float]] = {}
    found = Predictions({}, {})
    for name, split in splits:
        own = labels(split)
        standard = [task.standardise(label) for label in own.tolist()]
        logits = predict(model, split, task, batch_size, progress=progress, processes=processes)
        check_finite(logits, name)
        predicted = decide(logits, task)
        scores[name] = {"n": len(split), "loss": mean_loss(logits, standard)}
        scores[name] |= compute_metrics(metrics, own, predicted, task.outputs)
        found.labels[name], found.predictions[name] = own, predicted
    return scores, found
