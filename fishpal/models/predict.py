"""Predictions and losses of a trained model."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fishpal.common.errors import DataError, PlanError, brief
from fishpal.common.progress import tqdm
from fishpal.encoders.tokenizer import encode, examples_of, readable
from fishpal.models.batching import by_length, collate
from fishpal.models.classifier import Classifier, task_loss
from fishpal.models.frozen import BATCH_SIZE, FrozenOutputs
from fishpal.models.processes import ALONE, Processes
from fishpal.records.examples import Example, check_examples
from fishpal.records.facts import TaskFacts


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Within the block all of a model is in eval mode; its parts' own modes return after it."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@torch.no_grad()
def predict(
    model: Classifier,
    examples: Sequence[Example],
    task: TaskFacts,
    batch_size: int = BATCH_SIZE,
    *,
    progress: bool = False,
    frozen: FrozenOutputs | None = None,
    processes: Processes = ALONE,
) -> NDArray[np.float32]:
    """Logits (n, C) in the examples' order, in eval mode and float32, on the model's device.

    `frozen` are these examples' outputs of the model's frozen layers. The `processes` share the
    batches, and each returns all logits. `ParamsError` for a `batch_size` that is none,
    `DataError` for an example that task or encoder cannot take.
    """
    check_examples(examples, task, model.source.limits, "examples")
    device = model.head.weight.device
    logits = np.zeros((len(examples), task.outputs), dtype=np.float32)
    batches = processes.share(by_length(examples, batch_size))
    with evaluating(model):
        for index in tqdm(batches, desc="predict", disable=None if progress else True):
            batch = collate([examples[i] for i in index], task.pad_id)
            inputs = {name: t.to(device) for name, t in batch.items() if name != "labels"}
            found = model(**inputs) if frozen is None else frozen.logits(inputs, index)
            logits[index] = found.float().cpu().numpy()
    return processes.sum(torch.from_numpy(logits)).numpy()


def check_finite(logits: NDArray[np.float32], what: str) -> None:
    """Raise `DataError` where some are not: they would pass for the first class."""
    if not np.isfinite(logits).all():
        raise DataError(f"logits of {what} are not finite; allowed: finite weights")


def mean_loss(logits: NDArray[np.floating[Any]], labels: Sequence[int] | Sequence[float]) -> float:
    """Mean loss of `task_loss` over all examples; a regression's labels standardised."""
    return task_loss(torch.from_numpy(logits).double(), torch.tensor(labels)).item()


def losses(
    logits: NDArray[np.floating[Any]], labels: Sequence[int] | Sequence[float]
) -> NDArray[np.float64]:
    """`task_loss` of each example, (n)."""
    answers, truth = torch.from_numpy(logits).double(), torch.tensor(labels)
    if truth.is_floating_point():
        return np.asarray(0.5 * (answers.squeeze(-1) - truth.double()).square())
    return np.asarray(nn.functional.cross_entropy(answers, truth, reduction="none"))


def decide(logits: NDArray[np.float32], task: TaskFacts) -> NDArray[np.generic]:
    """(n, C) → (n): the most probable class (the first of equals), or a regression's value in
    the label's own unit."""
    if task.labels is not None:
        return logits.argmax(axis=1)
    return logits[:, 0] if task.scale is None else task.scale.restore(logits[:, 0])


def check_pair(pair: bool, task: TaskFacts, what: str) -> None:
    """Raise `DataError` where `what` are pairs of texts and the task's are none, or the reverse."""
    if pair != task.pair:
        found, allowed = (("single ones", "pairs")[each] for each in (pair, task.pair))
        raise DataError(f"{what} are {found}; allowed: {allowed}, as {task.name} has them")


def label_texts(
    model: Classifier, tokenizer: Any, *texts: list[str], max_length: int = 128
) -> list[str] | list[float]:
    """Class names, or numbers of a regression, of raw texts or of pairs of texts.

    Args:
        model: from `load`, which knows its task.
        tokenizer: the encoder's own, from `load_tokenizer`.
        texts: one list of texts, or two of equal length: the pairs' first and second ones.
        max_length: tokens that a text is cut to; `tokenize.max_length` of params.yaml.

    Raises:
        PlanError: where the model knows no task.
        DataError: what is no list of texts, single texts of a model for pairs, or the reverse.
    """
    if model.task is None:
        raise PlanError("the model knows no task; allowed: one that `load` gave")
    for column in texts:
        ok = isinstance(column, list) and all(isinstance(text, str) for text in column)
        if not ok or len(column) != len(texts[0]) or len(texts) > 2:
            found, allowed = brief(repr(column)), "one list of texts, or two that are as long"
            raise DataError(f"texts: {found}; allowed: {allowed}")
    if not texts or not texts[0]:
        return []
    check_pair(len(texts) == 2, model.task, "texts")
    limits = model.source.limits
    encoded = encode(tokenizer, texts, readable(max_length, limits), limits)
    unknown = [0 if model.task.labels else 0.0] * len(texts[0])
    examples = examples_of(encoded, unknown)
    logits = predict(model, examples, model.task)
    check_finite(logits, "texts")
    found = decide(logits, model.task).tolist()
    return [model.task.labels[i] for i in found] if model.task.labels else found
