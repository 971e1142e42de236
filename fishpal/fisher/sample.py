"""The examples that are measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fishpal.common.errors import DataError, caution
from fishpal.models.batching import by_length
from fishpal.params.options import FisherOptions
from fishpal.records.examples import Example, labels
from fishpal.records.task import TokenisedTask

LEAST = 2  # examples of a class: one in either half, on average


@dataclass(frozen=True)
class Sample:
    """The examples that are measured, cut into batches of similar length.

    `uniform`: one number in [0, 1) an example, for the `sampled` estimator; drawn in the
    sample's order, so that batches do not change it. `half`: 0 or 1 an example, drawn as well:
    what one half's gradients say is checked on the other.
    """

    examples: Sequence[Example]
    batches: list[list[int]]
    uniform: Tensor
    half: Tensor
    pad_id: int

    @property
    def labels(self) -> Tensor:
        """(n), class indices or targets of a regression."""
        return torch.tensor([example.label for example in self.examples])


def _with_every_label(order: NDArray[Any], size: int, own: NDArray[Any]) -> NDArray[Any]:
    """The first rows, the last of them in the place of labels that `LEAST` of them lack.

    Of examples that all have one label every gradient says alike that the others are fewer, and
    one half's foretell the other's without any signal. A regression needs two labels.
    """
    first, rest = order[:size].copy(), order[size:]
    if own.dtype.kind == "f":
        own = (own != own[first[0]]).astype(int)
    for label in np.unique(own[rest]):
        values, counts = np.unique(own[first], return_counts=True)
        missing = LEAST - int((own[first] == label).sum())
        found = rest[own[rest] == label][: max(missing, 0)]
        if len(found) and counts.max() - len(found) >= LEAST:
            most = np.flatnonzero(own[first] == values[counts.argmax()])
            first[most[-len(found) :]] = found
    return first


def draw_sample(task: TokenisedTask, options: FisherOptions) -> Sample:
    """Draw `options.examples` of the fit part, in its order, by `options.seed`; `LEAST` of every
    class, where there are, two labels of a regression."""
    fit, facts = task.fit, task.facts
    if len(fit) < 2:
        raise DataError(f"task {facts.name}: fit has {len(fit)} examples; allowed: 2 or more")
    if options.examples > len(fit):
        caution(f"task {facts.name}: fisher.examples is {options.examples}; fit has {len(fit)}")
    rng = np.random.default_rng(options.seed)
    rows = _with_every_label(rng.permutation(len(fit)), options.examples, labels(fit))
    examples = [fit[i] for i in np.sort(rows).tolist()]
    uniform = torch.from_numpy(rng.random(len(examples)))
    half = torch.from_numpy(rng.permutation(len(examples)) % 2)
    return Sample(examples, by_length(examples, options.batch_size), uniform, half, facts.pad_id)
