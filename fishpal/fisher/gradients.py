"""Exact per-example gradients of the logits in one forward pass.

Layout: every tensor of gradients is (B, …), the example first, then the shape of the module's
tensor (see `modules.base`). Gradients of examples do not mix, since an example's leaves touch
only its own row of the batch; so one backward pass of a sum over the batch gives all of them.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor

from fishpal.models.classifier import Batch, Classifier
from fishpal.models.precision import casting
from fishpal.modules import CandidateModule

Gradients = list[dict[str, Tensor]]
"""For each module, in order: name of the kept tensor → (B, …)."""

# float16 has 5 exponent bits: gradients under 6e-8 vanish. A power of two keeps the division
# exact; 2**10 leaves 6 binary orders of magnitude to the largest float16 for a logit's gradient.
FLOAT16_SCALE = 2.0**10


class LogitGradients:
    """`logits` (B, C) of a forward pass, detached, in float32 or better, and their gradients."""

    def __init__(self, logits: Tensor, leaves: list[dict[str, Tensor]], scale: float) -> None:
        self.logits = logits.detach().to(torch.promote_types(logits.dtype, torch.float32))
        self._graph, self._leaves, self._scale = logits, leaves, scale

    def gradients(self, vectors: Sequence[Tensor]) -> Iterator[Gradients]:
        """For each v (B, C) the gradients of Σ_c v_c f_c, example by example, in float32.

        One backward pass each; the last one frees the graph, so that this is called once.
        """
        flat = [leaf for tensors in self._leaves for leaf in tensors.values()]
        for left, vector in zip(reversed(range(len(vectors))), vectors, strict=True):
            seed = (vector * self._scale).to(self._graph.dtype)
            found = torch.autograd.grad(self._graph, flat, seed, retain_graph=left > 0)
            it = iter(found if self._scale == 1.0 else [each / self._scale for each in found])
            yield [{name: next(it) for name in tensors} for tensors in self._leaves]


def logit_gradients(
    model: Classifier,
    modules: Sequence[CandidateModule],
    batch: Batch,
    precision: torch.dtype = torch.float32,
) -> LogitGradients:
    """One forward pass in which every example has a copy of its own of the modules' tensors.

    Args:
        modules: attached to the model; gradients are for their kept tensors.
        batch: inputs on the model's device, `labels` allowed and ignored.
        precision: float16 and bfloat16 run the passes under autocast.
    """
    size = len(batch["input_ids"])
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    with ExitStack() as stack:  # the graph holds the leaves from there on
        leaves = [stack.enter_context(module.per_example(size)) for module in modules]
        with casting(batch["input_ids"].device.type, precision):
            logits = model(**inputs)
    return LogitGradients(logits, leaves, FLOAT16_SCALE if precision == torch.float16 else 1.0)
