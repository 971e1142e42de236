"""Trainings of a given length, what they came to, and the order in which rates are tried."""

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from fishpal.api.encoder import TextEncoder
from fishpal.api.steps import fit
from fishpal.api.task import Task
from fishpal.common.errors import TrainingError
from fishpal.metrics import metric
from fishpal.models.classifier import Classifier
from fishpal.models.predict import decide, mean_loss, predict
from fishpal.params.options import HeadOptions, TrainOptions
from fishpal.records.plan import Plan
from fishpal.training.run import Training
from studies.cells.store import Line


def fixed_length(updates: int, batch_size: int, looks: int, fit: int) -> TrainOptions:
    """The project's training of so many updates, with looks evenly over them.

    What too high a rate does is to be seen: nothing leads a collapsed training back.
    """
    per_epoch = -(-fit // batch_size)
    return TrainOptions(
        updates=updates,
        pilot=False,
        batch_size=batch_size,
        evaluations_per_epoch=looks * per_epoch / updates,
        recover=False,
    )


def train_cell(
    encoder: TextEncoder,
    parts: tuple[Task, Task],
    plan: Plan,
    seed: int,
    options: TrainOptions,
    head: HeadOptions | None = None,
) -> Line:
    """Train a plan on a task's first part: `outcome` on the other one, size, precision, seconds.

    Divergence is a result. Seconds are those of training, of one thread of the CPU.
    """
    task, evaluation = parts
    begin = time.process_time()
    try:
        model = fit(encoder, task, plan, seed, options, head)
    except TrainingError:
        return {"diverged": True}
    seconds = round(time.process_time() - begin, 1)
    assert model.training is not None
    kept, precision = model.module.parameter_counts().kept, model.training.precision
    device = model.module.head.weight.device.type
    own = {"kept": kept, "precision": precision, "device": device, "seconds": seconds}
    return own | outcome(encoder, task, evaluation, model.module, model.training)


def outcome(
    encoder: TextEncoder, task: Task, evaluation: Task, module: Classifier, training: Training
) -> Line:
    """What a training came to, on the selection and the evaluation rows.

    `right` has a bit an evaluation row, as hexadecimal digits; null of a regression. `collapsed`
    are the updates at whose looks it had, where there were any.
    """
    facts = task.tokenised(encoder).facts
    examples = evaluation.examples(encoder, standardise=None if facts.labels else facts.standardise)
    logits = predict(module, examples, facts)
    labels = [example.label for example in examples]
    main = metric(evaluation.spec.metrics[0])  # accuracy, or Pearson's r
    truth = np.array(labels) if facts.scale is None else facts.scale.restore(np.array(labels))
    found = decide(logits, facts)
    collapsed = [point.update for point in training.curve if point.collapsed]
    return ({"collapsed": collapsed} if collapsed else {}) | {
        "diverged": False,
        "curve": [[p.update, round(p.pick_loss, 6)] for p in training.curve],
        "selection_loss": round(training.best_loss, 6),
        "loss": round(mean_loss(logits, labels), 6),
        "score": round(main(truth, found, facts.outputs), 6),
        "right": np.packbits(found == truth).tobytes().hex() if facts.labels else None,
    }


def outwards(
    rates: Sequence[float], best_of_them: Callable[[Sequence[float]], float]
) -> Iterator[float]:
    """From the middle three on, while an edge is the best.

    Each comes once the ones before it are trained.
    """
    low, high = len(rates) // 2 - 1, len(rates) // 2 + 1
    yield from rates[low : high + 1]
    while (best := best_of_them(rates[low : high + 1])) in (rates[low], rates[high]):
        low, high = (low - 1, high) if best == rates[low] else (low, high + 1)
        if not 0 <= low <= high < len(rates):
            return
        yield rates[low] if best == rates[low + 1] else rates[high]
