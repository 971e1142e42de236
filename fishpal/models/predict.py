"""Predictions and losses of a trained model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from fishpal.models.batching import by_length, collate
from fishpal.models.classifier import Classifier, task_loss
from fishpal.records.examples import Example, TaskFacts


@torch.no_grad()
def predict(
    model: Classifier,
    examples: Sequence[Example],
    task: TaskFacts,
    batch_size: int = 64,
    *,
    progress: bool = False,
) -> NDArray[np.float32]:
    """Logits (n, C) in the examples' order, in eval mode and float32, on the model's device."""
    model.eval()
    device = model.head.weight.device
    logits = np.empty((len(examples), task.outputs), dtype=np.float32)
    batches = by_length(examples, batch_size)
    for index in tqdm(batches, desc="predict", disable=None if progress else True):
        batch = collate([examples[i] for i in index], task.pad_id)
        inputs = {name: t.to(device) for name, t in batch.items() if name != "labels"}
        logits[index] = model(**inputs).float().cpu().numpy()
    return logits


def mean_loss(logits: NDArray[np.float32], examples: Sequence[Example]) -> float:
    """Mean −log p(y|x) in nats over all examples."""
    labels = torch.tensor([example.label for example in examples])
    return task_loss(torch.from_numpy(logits).double(), labels).item()


def decide(logits: NDArray[np.float32], regression: bool) -> NDArray[np.generic]:
    """(n, C) → the most probable class (the first of equals), or the regression's value, (n)."""
    return logits[:, 0] if regression else logits.argmax(axis=1)
