"""The examples that are measured."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fishpal.common.errors import DataError, caution
from fishpal.models.batching import by_length
from fishpal.params.options import FisherOptions
from fishpal.records.examples import Example
from fishpal.records.task import TokenisedTask


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


def draw_sample(task: TokenisedTask, options: FisherOptions) -> Sample:
    """Draw `options.examples` of the fit part, in its order, by `options.seed`."""
    fit, facts = task.fit, task.facts
    if len(fit) < 2:
        raise DataError(f"task {facts.name}: fit has {len(fit)} examples; allowed: 2 or more")
    if options.examples > len(fit):
        caution(f"task {facts.name}: fisher.examples is {options.examples}; fit has {len(fit)}")
    rng = np.random.default_rng(options.seed)
    chosen = np.sort(rng.permutation(len(fit))[: options.examples]).tolist()
    examples = [fit[i] for i in chosen]
    uniform = torch.from_numpy(rng.random(len(examples)))
    half = torch.from_numpy(rng.permutation(len(examples)) % 2)
    return Sample(examples, by_length(examples, options.batch_size), uniform, half, facts.pad_id)
