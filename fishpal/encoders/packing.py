"""The texts of a padded batch in one row, so that layers compute no padding.

All that a layer does but its attention it does token by token, where positions are added before
the first one. So its input (B, T, d) may as well be (1, N, d), the N tokens that are no padding:
the sums are the same ones. Attention alone needs texts apart (`encoders.attention`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from fishpal.encoders.ports import config_of, layers_of
from fishpal.encoders.specs import spec_of


@dataclass(frozen=True)
class Packing:
    """Where the tokens (N,) of a batch stand in its (B · T) places."""

    texts: int
    length: int
    places: Tensor

    @classmethod
    def of(cls, mask: Tensor) -> "Packing":
        """Of a mask (B, T), not 0 at tokens."""
        texts, length = mask.shape
        return cls(texts, length, mask.flatten().nonzero().squeeze(1))

    def pack(self, padded: Tensor) -> Tensor:
        """(B, T, …) → (1, N, …)."""
        return padded.flatten(0, 1).index_select(0, self.places).unsqueeze(0)

    def unpack(self, packed: Tensor) -> Tensor:
        """(1, N, …) → (B, T, …), zeros at padding."""
        (row,) = packed
        empty = row.new_zeros(self.texts * self.length, *row.shape[1:])
        return empty.index_copy_(0, self.places, row).unflatten(0, (self.texts, self.length))


PACKING: ContextVar[Packing | None] = ContextVar("packing", default=None)
"""That of the pass under way, within `packed`."""


def packs(model: nn.Module) -> bool:
    """Whether its layers get no positions, and attend by transformers' interface.

    On a CPU alone: counting tokens would wait for another device, and each gathering is a launch.
    Not with gradient checkpointing, which computes a layer once more, out of the block.
    """
    spec = spec_of(config_of(model))
    token_wise = spec.positions != "relative" and spec.rewritten is None
    return token_wise and not checkpointed(model) and next(model.parameters()).device.type == "cpu"


def checkpointed(model: nn.Module) -> bool:
    """Whether its layers are computed once more on the way back."""
    return bool(getattr(layers_of(model)[0], "gradient_checkpointing", False))


@contextmanager
def packed(model: nn.Module, mask: Tensor) -> Iterator[None]:
    """Let a model that `packs` compute no padding of a batch with this mask (B, T)."""
    packing = Packing.of(mask)
    if len(packing.places) == mask.numel():
        yield
        return
    layers = layers_of(model)

    def pack(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        if PACKING.get() is not packing:  # another thread's pass
            return inputs
        hidden, *rest = inputs  # packed already, but of the first layer that is computed
        return (packing.pack(hidden), *rest) if hidden.shape[:2] == mask.shape else inputs

    def unpack(_: nn.Module, __: Any, output: Any) -> Any:
        if PACKING.get() is not packing:
            return output
        if isinstance(output, tuple):
            return (packing.unpack(output[0]), *output[1:])
        return packing.unpack(output)

    handles = [layer.register_forward_pre_hook(pack) for layer in layers]
    handles.append(layers[-1].register_forward_hook(unpack))
    token = PACKING.set(packing)
    try:
        yield
    finally:
        PACKING.reset(token)
        for handle in handles:
            handle.remove()
