"""Outputs of the frozen layers below the lowest module, computed once instead of every epoch."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from fishpal.common.errors import caution
from fishpal.encoders.ports import layers_of
from fishpal.models.batching import by_length, collate
from fishpal.models.classifier import Batch, Classifier
from fishpal.records.examples import Example, lengths

MOST_BYTES = 2 * 2**30  # of one part; a constant, so that results do not depend on the machine
BATCH_SIZE = 64  # of `predict`


class _Enough(Exception):
    """Ends a forward pass at the layer whose output is wanted."""


class FrozenOutputs:
    """What a model's layers below its lowest module give for some examples, in eval mode.

    Kept without padding, on the CPU: 4 · d bytes a token in float32, 1.5 KB where d = 384; of a
    plan without modules the pooled features alone, as much a text. Padding takes no part in what
    is visible, so that the upper layers compute the same from it: the same bits in the batches of
    `by_length(examples, BATCH_SIZE)`, that these are computed in, and else up to rounding (a
    matrix product's order of summation may depend on the batch's shape).
    """

    def __init__(self, model: Classifier, examples: Sequence[Example], pad_id: int) -> None:
        self.model = model
        layers, depth = list(layers_of(model.encoder)), frozen_layers(model)
        self._layers: list[Any] = [] if depth == len(layers) else layers[:depth]  # to be skipped
        self._tuple = 0  # of how many, where the layers give one
        self._kept: list[Tensor] = [torch.empty(0)] * len(examples)
        training, device = model.training, model.head.weight.device
        model.eval()
        with torch.no_grad():
            for rows in by_length(examples, BATCH_SIZE):
                batch = collate([examples[row] for row in rows], pad_id)
                sizes = batch["attention_mask"].sum(dim=1).tolist()
                found = self._compute({n: t.to(device) for n, t in batch.items() if n != "labels"})
                for row, states, size in zip(rows, found.cpu(), sizes, strict=True):
                    self._kept[row] = (states[:size] if found.dim() == 3 else states).clone()
        model.train(training)

    def logits(self, batch: Batch, rows: Sequence[int]) -> Tensor:
        """The model's logits (B, C) of these rows of the examples, collated in `batch`."""
        states = [self._kept[row] for row in rows]
        head = self.model.head
        if not self._layers:
            features: Tensor = torch.stack(states).to(head.weight.device)
            return head(features)
        with self._skipping(pad_sequence(states, batch_first=True).to(head.weight.device)):
            return self.model(**batch)

    def _compute(self, batch: Batch) -> Tensor:
        """Hidden states (B, T, d) above the frozen layers, or features (B, d)."""
        if not self._layers:
            return self.model.features(**batch)
        seen: list[Any] = []

        def stop(_: Any, __: Any, output: Any) -> None:
            seen.append(output)
            raise _Enough

        handle = self._layers[-1].register_forward_hook(stop)
        try:
            self.model(**batch)
        except _Enough:
            pass
        finally:
            handle.remove()
        (output,) = seen
        self._tuple = len(output) if isinstance(output, tuple) else 0
        states: Tensor = output[0] if self._tuple else output
        return states

    @contextmanager
    def _skipping(self, states: Tensor) -> Iterator[None]:
        """Every frozen layer gives these states at once: the last one's are all that counts."""
        output = (states, *[None] * (self._tuple - 1)) if self._tuple else states
        for layer in self._layers:
            layer.forward = lambda *_, **__: output
        try:
            yield
        finally:
            for layer in self._layers:
                del layer.forward


def frozen_layers(model: Classifier) -> int:
    """How many layers at the bottom training leaves alone: no module is there or below."""
    if any(parameter.requires_grad for parameter in model.encoder.parameters()):
        return 0
    return min((m.layer for m in model.candidates()), default=model.source.facts.layers)


def frozen_outputs(
    model: Classifier, examples: Sequence[Example], pad_id: int, part: str
) -> FrozenOutputs | None:
    """Them, or None, with a warning, where `part`'s would take more than `MOST_BYTES`."""
    depth, facts = frozen_layers(model), model.source.facts
    count = len(examples) if depth == facts.layers else sum(lengths(examples))
    width = model.head.in_features if depth == facts.layers else facts.hidden
    size = count * width * model.head.weight.element_size()
    if size > MOST_BYTES:
        what = f"train.reuse_frozen: outputs for {part} take {size / 2**30:.1f} GiB"
        caution(f"{what}, above {MOST_BYTES / 2**30:.0f}: they are computed anew each time")
        return None
    return FrozenOutputs(model, examples, pad_id)


def draws_numbers(model: Classifier, example: Example, pad_id: int) -> bool:
    """Whether the encoder's layers have dropout of their own, of whatever make, in training."""
    device = model.head.weight.device
    batch = {n: t.to(device) for n, t in collate([example], pad_id).items() if n != "labels"}

    def state() -> list[Tensor]:
        cuda = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
        return [torch.get_rng_state(), *cuda]

    training = model.training
    with torch.no_grad(), torch.random.fork_rng():
        before = state()
        model.eval()
        model.encoder.train()
        model(**batch)
        drawn = any(not torch.equal(a, b) for a, b in zip(before, state(), strict=True))
    model.train(training)
    return drawn
