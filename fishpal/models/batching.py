"""Examples → padded batches of tensors."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fishpal.records.examples import Example, lengths


def collate(examples: Sequence[Example], pad_id: int) -> dict[str, Tensor]:
    """Pad on the right to the batch's longest example.

    Returns:
        `input_ids`, `attention_mask` and, where the examples have them, `token_type_ids`, each
        (B, T) int64; `labels` (B), int64 or, for a regression, float32.
    """
    width = max(len(example.input_ids) for example in examples)
    batch = {
        "input_ids": torch.full((len(examples), width), pad_id, dtype=torch.long),
        "attention_mask": torch.zeros(len(examples), width, dtype=torch.long),
    }
    if examples[0].token_type_ids is not None:
        batch["token_type_ids"] = torch.zeros(len(examples), width, dtype=torch.long)
    for i, example in enumerate(examples):
        size = len(example.input_ids)
        batch["input_ids"][i, :size] = torch.tensor(example.input_ids)
        batch["attention_mask"][i, :size] = 1
        if example.token_type_ids is not None:
            batch["token_type_ids"][i, :size] = torch.tensor(example.token_type_ids)
    labels = [example.label for example in examples]
    batch["labels"] = torch.tensor(labels)
    return batch


def by_length(examples: Sequence[Example], batch_size: int) -> list[list[int]]:
    """Indices of all examples in batches of similar length, longest first.

    Longest first, so that memory runs out at the start or not at all.
    """
    order = np.argsort([-n for n in lengths(examples)], kind="stable").tolist()
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def shuffled_by_length(
    sizes: Sequence[int], batch_size: int, rng: np.random.Generator
) -> list[list[int]]:
    """One epoch's batches: random, yet similar in length within a batch.

    Shuffles, sorts by length within chunks of 50 batches (the chunk that transformers' length
    grouping uses, too), cuts, and shuffles the batches. The last batch may be smaller.
    """
    order = rng.permutation(len(sizes))
    chunk = 50 * batch_size
    batches: list[list[int]] = []
    for start in range(0, len(order), chunk):
        part = sorted(order[start : start + chunk].tolist(), key=lambda i: -sizes[i])
        batches += [part[i : i + batch_size] for i in range(0, len(part), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]
