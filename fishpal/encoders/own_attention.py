"""The attention of models that ignore transformers' interface, rewritten to take a prefix.

Each function is such a model's own `forward`, operation by operation, so that without a prefix
its output has the same bits; `self` is the model's attention module.
"""

import math
from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from fishpal.encoders.attention import front_of


def rewrite(attention: nn.Module, kind: str) -> None:
    """Let an attention module compute by the function of its `EncoderSpec.rewritten`."""
    attention.forward = MethodType(_FORWARDS[kind], attention)


def _mpnet(
    self: Any,
    hidden_states: Tensor,
    attention_mask: Tensor | None = None,
    position_bias: Tensor | None = None,
    output_attentions: bool = False,
    **_: Any,
) -> tuple[Tensor, ...]:
    """`MPNetSelfAttention`: the relative position's bias is added to the scores."""
    width = self.attention_head_size
    q, k, v = (
        linear(hidden_states).unflatten(-1, (-1, width)).transpose(1, 2)
        for linear in (self.q, self.k, self.v)
    )
    scores = q @ k.mT / math.sqrt(width)
    if position_bias is not None:
        scores = scores + position_bias
    if attention_mask is not None:
        scores = scores + attention_mask
    front = front_of(self, k, v)
    if front is not None:
        keys, values = front
        scores = torch.cat([q @ keys.mT / math.sqrt(width), scores], dim=-1)
        v = torch.cat([values, v], dim=2)
    weights = self.dropout(scores.softmax(dim=-1))
    output = self.o((weights @ v).transpose(1, 2).flatten(-2))
    return (output, weights) if output_attentions else (output,)


def _deberta_v2(
    self: Any,
    hidden_states: Tensor,
    attention_mask: Tensor,
    output_attentions: bool = False,
    query_states: Tensor | None = None,
    relative_pos: Tensor | None = None,
    rel_embeddings: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """`DisentangledSelfAttention`: content meets position. Heads are folded into the batch."""
    heads = self.num_attention_heads
    asking = hidden_states if query_states is None else query_states
    query = self.transpose_for_scores(self.query_proj(asking), heads)
    key = self.transpose_for_scores(self.key_proj(hidden_states), heads)
    value = self.transpose_for_scores(self.value_proj(hidden_states), heads)
    factor = 1 + ("c2p" in self.pos_att_type) + ("p2c" in self.pos_att_type)
    scale = torch.sqrt(torch.tensor(query.shape[-1], dtype=torch.float) * factor).to(query.dtype)
    scores = query @ (key.mT / scale)
    if self.relative_attention:
        scores = scores + _position_scores(self, query, key, relative_pos, rel_embeddings, scale)
    scores = scores.unflatten(0, (-1, heads))
    hidden = ~attention_mask.bool()
    scores = scores.masked_fill(hidden, torch.finfo(scores.dtype).min)
    front = front_of(self, *(tensor.unflatten(0, (-1, heads)) for tensor in (key, value)))
    if front is not None:
        keys, values = (tensor.flatten(0, 1) for tensor in front)
        before = (query @ (keys.mT / scale)).unflatten(0, (-1, heads))
        scores = torch.cat([before, scores], dim=-1)
        value = torch.cat([values, value], dim=1)
    weights = self.dropout(scores.softmax(dim=-1))
    context = (weights.flatten(0, 1) @ value).unflatten(0, (-1, heads))
    return context.transpose(1, 2).flatten(-2), weights if output_attentions else None


def _position_scores(
    self: Any, query: Tensor, key: Tensor, relative_pos: Any, rel_embeddings: Any, scale: Tensor
) -> Tensor | float:
    """Content to position and position to content, (B · heads, T, T).

    The projections of the positions come with an example axis where a module's tensors have one,
    which the model's own method would repeat once more.
    """
    span, size = self.pos_ebd_size, query.shape[0]
    positions = self.pos_dropout(rel_embeddings)[: 2 * span].unsqueeze(0)
    relative = relative_pos.to(query.device, torch.long)  # (1, T, T)

    def projected(linear: nn.Module) -> Tensor:
        found: Tensor = self.transpose_for_scores(linear(positions), self.num_attention_heads)
        return found.repeat(size // found.shape[0], 1, 1).mT

    def at(scores: Tensor, place: Tensor) -> Tensor:
        index = (place + span).clamp(0, 2 * span - 1).expand(size, -1, -1)
        return scores.gather(-1, index)

    total: Tensor | float = 0
    if "c2p" in self.pos_att_type:
        linear = self.key_proj if self.share_att_key else self.pos_key_proj
        total = total + at(query @ projected(linear), relative) / scale
    if "p2c" in self.pos_att_type:
        linear = self.query_proj if self.share_att_key else self.pos_query_proj
        total = total + at(key @ projected(linear), -relative).mT / scale
    return total


_FORWARDS: dict[str, Callable[..., Any]] = {"mpnet": _mpnet, "deberta-v2": _deberta_v2}
