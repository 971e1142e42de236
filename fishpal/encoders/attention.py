"""Attention with a trained prefix, for every encoder that uses transformers' interface.

transformers looks the attention function up by the name in the model's config and calls it with
the attention module itself. Registering our own function under our own name reaches all such
encoders without touching their code; which module has a prefix is looked up by identity. It
would fail silently where a model ignores the interface: `fishpal.encoders.specs` names those, and
`fishpal.encoders.own_attention` computes theirs.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from fishpal.encoders.packing import PACKING, Packing

ATTENTION = "fishpal"
KeysValues = tuple[Tensor, Tensor]


class KeyValueSource(Protocol):
    """What gives keys and values to put in front, each (p, d) or (B, p, d)."""

    def keys_values(self) -> KeysValues: ...


# Weak: a prefix must not keep the encoder that it was attached to alive.
PREFIXES: WeakKeyDictionary[nn.Module, KeyValueSource] = WeakKeyDictionary()
# Attention module → where its own keys and values are noted; empty outside of `captured`.
_CAPTURED: WeakKeyDictionary[nn.Module, dict[nn.Module, KeysValues]] = WeakKeyDictionary()


@contextmanager
def captured(attentions: Sequence[nn.Module]) -> Iterator[Mapping[nn.Module, KeysValues]]:
    """Note the keys and values, (B, T, d) each, of attention modules that run in the block.

    They are those that a prefix is put in front of: rotated where the model rotates.
    """
    found: dict[nn.Module, KeysValues] = {}
    for attention in attentions:
        _CAPTURED[attention] = found
    try:
        yield found
    finally:
        for attention in attentions:
            del _CAPTURED[attention]


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
            that the prefix has no position; fewer heads of key and value are grouped queries.
        attention_mask: (B, 1, T or 1, T), True where visible, or None: all visible, or all before
            in a causal module. The prefix is visible from everywhere, padding, causality and local
            attention windows notwithstanding.
    """
    packing = PACKING.get()
    if packing is not None:
        query, key, value = (_apart(tensor, packing) for tensor in (query, key, value))
    front, softcap = front_of(module, key, value), kwargs.get("softcap")
    if front is not None or softcap is not None:
        attention_mask = _explicit(attention_mask, module, query, kwargs.get("is_causal"))
    if front is not None:
        keys, values = front
        key, value = torch.cat([keys, key], dim=2), torch.cat([values, value], dim=2)
        if attention_mask is not None:
            visible = True if attention_mask.dtype == torch.bool else 0.0
            attention_mask = F.pad(attention_mask, (keys.shape[-2], 0), value=visible)
    if softcap is not None:
        return _softcapped(module, query, key, value, attention_mask, kwargs), None
    output = _sdpa(module, query, key, value, attention_mask, kwargs)
    return (output if packing is None else packing.pack(output)), None


def _apart(heads: Tensor, packing: Packing) -> Tensor:
    """(1, heads, N, w) → (B, heads, T, w)."""
    return packing.unpack(heads.transpose(1, 2)).transpose(1, 2)


def _sdpa(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    options: Mapping[str, Any],
) -> Tensor:
    """transformers' own call; of bfloat16 on a CPU in float32.

    torch's flash kernel for CPUs goes back through bfloat16 three to nine times as slowly as
    through float32 at 16 to 64 tokens, and nowhere faster (2.13). It takes no dropout. Values
    tell: queries that a model rotates are float32 already, until autocast rounds them again.
    """
    if value.device.type != "cpu" or value.dtype != torch.bfloat16 or options.get("dropout"):
        return sdpa_attention_forward(module, query, key, value, mask, **options)[0]
    heads = (tensor.float() for tensor in (query, key, value))
    if mask is not None and mask.dtype != torch.bool:
        mask = mask.float()
    with torch.autocast("cpu", enabled=False):
        return sdpa_attention_forward(module, *heads, mask, **options)[0].to(value.dtype)


def _explicit(
    mask: Tensor | None, module: nn.Module, query: Tensor, is_causal: bool | None
) -> Tensor | None:
    """The mask; a causal one where SDPA would make it itself, from as many keys as queries."""
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    size = query.shape[2]
    if mask is not None or not causal or size == 1:
        return mask
    return torch.ones(1, 1, size, size, dtype=torch.bool, device=query.device).tril()


def _softcapped(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    options: Mapping[str, Any],
) -> Tensor:
    """Attention with scores c · tanh(s / c), as Gemma 2 wants it and SDPA has it not.

    `options` are the layer's `scaling`, `softcap` (c) and, in training, `dropout`.
    """
    scaling, softcap = options["scaling"], options["softcap"]
    key, value = (
        tensor.repeat_interleave(query.shape[1] // tensor.shape[1], dim=1)
        for tensor in (key, value)
    )
    scores = softcap * torch.tanh(query @ key.mT * scaling / softcap)
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    weights = F.dropout(scores.softmax(dim=-1), options.get("dropout", 0.0), module.training)
    return (weights @ value).transpose(1, 2).contiguous()


@torch.compiler.disable  # type: ignore[untyped-decorator]  # it would take one layer's for all's
def front_of(module: nn.Module, key: Tensor, value: Tensor) -> KeysValues | None:
    """Keys and values (B, heads, p, d / heads) in front of those of an attention module.

    `key` and `value` are its own, (B, heads, T, d / heads); None: it has no prefix.
    """
    if module in _CAPTURED:
        _CAPTURED[module][module] = (_flat(key), _flat(value))
    source = PREFIXES.get(module)
    if source is None:
        return None
    keys, values = source.keys_values()
    return _heads(keys, key), _heads(values, value)


def _flat(heads: Tensor) -> Tensor:
    """(B, heads, T, d / heads) → (B, T, d)."""
    return heads.transpose(1, 2).flatten(-2)


def _heads(prefix: Tensor, like: Tensor) -> Tensor:
    """(p, d) or (B, p, d) → (B, heads, p, d / heads) in the dtype of `like`."""
    batch, heads, _, width = like.shape
    split = prefix.to(like.dtype).unflatten(-1, (heads, width)).transpose(-3, -2)
    return split.expand(batch, heads, prefix.shape[-2], width)


AttentionInterface.register(ATTENTION, prefix_attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
