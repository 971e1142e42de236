"""What the second maps of a trained model's modules read, as second moments."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial

import torch
from torch import Tensor

from fishpal.common.progress import tqdm
from fishpal.models.batching import collate
from fishpal.models.classifier import Classifier
from fishpal.models.frozen import BATCH_SIZE
from fishpal.models.precision import Passes
from fishpal.models.predict import evaluating
from fishpal.records.examples import Example, lengths

Moments = dict[tuple[int, str, str], Tensor]
"""(layer, kind, name of the map) → Σ z zᵀ (w + 1, w + 1) over all tokens, z = (inner, 1)."""


@torch.no_grad()
def inner_moments(
    model: Classifier, examples: Sequence[Example], pad_id: int, passes: Passes
) -> Moments:
    """Over every token of the examples, in eval mode, summed in float64."""
    found: Moments = {}
    device = model.head.weight.device
    with ExitStack() as stack:
        stack.enter_context(evaluating(model))
        for module in model.candidates():
            add = partial(_add, found, (module.layer, str(module.kind)))
            stack.enter_context(module.watched_by(add))
        for rows in tqdm(list(_of_one_length(examples)), desc="compress", disable=None):
            batch = collate([examples[i] for i in rows], pad_id)
            batch = {name: t.to(device) for name, t in batch.items() if name != "labels"}
            with passes():
                model(**batch)
    return found


def _add(found: Moments, module: tuple[int, str], name: str, inner: Tensor) -> None:
    rows = inner.reshape(-1, inner.shape[-1]).double()
    rows = torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)
    key = (*module, name)
    found[key] = found.get(key, 0.0) + rows.mT @ rows


def _of_one_length(examples: Sequence[Example]) -> Iterator[list[int]]:
    """Batches without padding, which no token of is to be counted."""
    rows: dict[int, list[int]] = {}
    for row, length in enumerate(lengths(examples)):
        rows.setdefault(length, []).append(row)
    for length in sorted(rows):
        for start in range(0, len(rows[length]), BATCH_SIZE):
            yield rows[length][start : start + BATCH_SIZE]
