"""Examples → padded batches of tensors."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from fishpal.common.checks import check
from fishpal.records.examples import Example, lengths


def collate(examples: Sequence[Example], pad_id: int) -> dict[str, Tensor]:
    """Pad on the right to the batch's longest example.

    Returns:
        `input_ids`, `attention_mask` and, where the examples have them, `token_type_ids`, each
        (B, T) int64; of pairs, `second` (B) int64; `labels` (B), int64 or, for a regression,
        float32.
    """
    ids = [example.input_ids for example in examples]
    batch = {
        "input_ids": _padded(ids, pad_id),
        "attention_mask": _padded([[1] * len(i) for i in ids]),
    }
    if examples[0].token_type_ids is not None:
        types = [example.token_type_ids or [0] * len(example.input_ids) for example in examples]
        batch["token_type_ids"] = _padded(types)
    if examples[0].second is not None:
        batch["second"] = torch.tensor([example.second for example in examples])
    return batch | {"labels": torch.tensor([example.label for example in examples])}


def _padded(rows: Sequence[list[int]], value: int = 0) -> Tensor:
    return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)


def check_batch_size(batch_size: Any) -> None:
    """Raise `ParamsError` unless it is an integer from 1: by -1, no example is in any batch."""
    whole = isinstance(batch_size, int | np.integer) and not isinstance(batch_size, bool)
    check(whole and batch_size >= 1, "batch_size", repr(batch_size), "an integer from 1")


def by_length(examples: Sequence[Example], batch_size: int) -> list[list[int]]:
    """Indices of all examples in batches of similar length, longest first.

    Longest first, so that memory runs out at the start or not at all. `ParamsError` as
    `check_batch_size`.
    """
    check_batch_size(batch_size)
    order = np.argsort([-n for n in lengths(examples)], kind="stable").tolist()
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def endless_batches(
    sizes: Sequence[int], batch_size: int, rng: np.random.Generator
) -> Iterator[list[int]]:
    """Batches of one epoch after the other."""
    while True:
        yield from shuffled_by_length(sizes, batch_size, rng)


def shuffled_by_length(
    sizes: Sequence[int], batch_size: int, rng: np.random.Generator
) -> list[list[int]]:
    """One epoch's batches: random, yet similar in length within a batch.

    Shuffles, sorts by length within chunks, cuts, and shuffles the batches; the last batch may
    be smaller. A chunk is 50 batches, but a quarter of a small part (as transformers groups):
    sorted as a whole, its texts would meet the same neighbours in every epoch.
    """
    order, negated = rng.permutation(len(sizes)), -np.asarray(sizes)
    chunk = max(1, min(50, len(sizes) // (4 * batch_size))) * batch_size
    batches: list[list[int]] = []
    for start in range(0, len(order), chunk):
        part = order[start : start + chunk]
        part = part[np.argsort(negated[part], kind="stable")].tolist()
        batches += [part[i : i + batch_size] for i in range(0, len(part), batch_size)]
    return [batches[i] for i in rng.permutation(len(batches))]
