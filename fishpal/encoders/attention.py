"""Attention with a trained prefix, for every encoder that uses transformers' interface.

transformers looks the attention function up by the name in the model's config and calls it with
the attention module itself. Registering our own function under our own name reaches all such
encoders without touching their code; which module has a prefix is looked up by identity. It
would fail silently where a model ignores the interface: `fishpal.encoders.specs` names those, and
`fishpal.encoders.own_attention` computes theirs.
"""

from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

ATTENTION = "fishpal"


class KeyValueSource(Protocol):
    """What gives keys and values to put in front, each (p, d) or (B, p, d)."""

    def keys_values(self) -> tuple[Tensor, Tensor]: ...


# Weak: a prefix must not keep the encoder that it was attached to alive.
PREFIXES: WeakKeyDictionary[nn.Module, KeyValueSource] = WeakKeyDictionary()


def prefix_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """SDPA over the prefix's and the layer's own keys and values.

    Args:
        query, key, value: (B, heads, T, d / heads), rotated already where the model rotates, so
            that the prefix has no position.
        attention_mask: (B, 1, T or 1, T), True where visible, or None: all visible. The prefix
            is visible from everywhere, padding and local attention windows notwithstanding.
    """
    front = front_of(module, key)
    if front is not None:
        keys, values = front
        key, value = torch.cat([keys, key], dim=2), torch.cat([values, value], dim=2)
        if attention_mask is not None:
            visible = True if attention_mask.dtype == torch.bool else 0.0
            attention_mask = F.pad(attention_mask, (keys.shape[-2], 0), value=visible)
    return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)


def front_of(module: nn.Module, like: Tensor) -> tuple[Tensor, Tensor] | None:
    """Keys and values (B, heads, p, d / heads) in front of those of an attention module.

    `like` are its own keys (B, heads, T, d / heads); None: it has no prefix.
    """
    source = PREFIXES.get(module)
    if source is None:
        return None
    keys, values = source.keys_values()
    return _heads(keys, like), _heads(values, like)


def _heads(prefix: Tensor, like: Tensor) -> Tensor:
    """(p, d) or (B, p, d) → (B, heads, p, d / heads) in the dtype of `like`."""
    batch, heads, _, width = like.shape
    split = prefix.to(like.dtype).unflatten(-1, (heads, width)).transpose(-3, -2)
    return split.expand(batch, heads, prefix.shape[-2], width)


AttentionInterface.register(ATTENTION, prefix_attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
