"""Exact per-example gradients of the logits in one forward pass.

Layout: every tensor of gradients is (B, …), the example first, then the shape of the module's
tensor (see `modules.base`). Gradients of examples do not mix, since an example's leaves touch
only its own row of the batch; so one backward pass of a sum over the batch gives all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

from fishpal.models.classifier import Batch, Classifier
from fishpal.modules import CandidateModule

Gradients = list[dict[str, Tensor]]
"""For each module, in order: name of the kept tensor → (B, …)."""

# float16 has 5 exponent bits: gradients under 6e-8 vanish. A power of two keeps the division
# exact; 2**10 leaves 6 binary orders of magnitude to the largest float16 for a logit's gradient.
FLOAT16_SCALE = 2.0**10


def logit_gradients(
    model: Classifier,
    modules: Sequence[CandidateModule],
    batch: Batch,
    cotangents: Callable[[Tensor], Sequence[Tensor]],
    precision: torch.dtype = torch.float32,
) -> tuple[Tensor, Iterator[Gradients]]:
    """Logits, and for each cotangent v (B, C) the gradients of Σ_c v_c f_c, example by example.

    Args:
        modules: attached to the model; gradients are for their kept tensors.
        batch: inputs on the model's device, `labels` allowed and ignored.
        cotangents: given the logits (B, C), the cotangents, (B, C) each: one backward pass each.
        precision: float16 and bfloat16 run the passes under autocast; gradients are float32.

    Returns:
        The logits, detached, and an iterator that yields the gradients of one cotangent at a
        time. Exhaust it before the model is used again.
    """
    size = len(batch["input_ids"])
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    stack = ExitStack()
    leaves = [stack.enter_context(module.per_example(size)) for module in modules]
    with _precision(batch["input_ids"].device, precision):
        logits = model(**inputs)
    stack.close()  # the graph holds the leaves from here on
    vectors = cotangents(logits.detach().to(torch.promote_types(logits.dtype, torch.float32)))
    scale = FLOAT16_SCALE if precision == torch.float16 else 1.0
    return logits.detach(), _backward(logits, leaves, vectors, scale)


def _backward(
    logits: Tensor, leaves: list[dict[str, Tensor]], vectors: Sequence[Tensor], scale: float
) -> Iterator[Gradients]:
    flat = [leaf for tensors in leaves for leaf in tensors.values()]
    for i, vector in enumerate(vectors):
        last = i == len(vectors) - 1
        seed = (vector * scale).to(logits.dtype)
        found = torch.autograd.grad(logits, flat, seed, retain_graph=not last)
        it = iter(found if scale == 1.0 else [gradient / scale for gradient in found])
        yield [{name: next(it) for name in tensors} for tensors in leaves]


@contextmanager
def _precision(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    if dtype == torch.float32:
        yield
        return
    with torch.autocast(device.type, dtype=dtype):
        yield
