"""Attention in bfloat16 on a CPU: computed in float32, against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fishpal.encoders.attention import PREFIXES, prefix_attention

BATCH, HEADS, TOKENS, WIDTH, BEFORE = 2, 3, 5, 4, 2
ROUND = 2.0**-8  # half a unit in the last place of bfloat16, relative


class Attention(nn.Module):
    is_causal = False
    num_key_value_groups = 1


class Front:
    def __init__(self):
        shape = (BEFORE, HEADS * WIDTH)
        self.pair = torch.randn(shape).bfloat16(), torch.randn(shape).bfloat16()

    def keys_values(self):
        return self.pair


def by_hand(query, key, value, visible, front):
    """Softmax over every visible key, head by head, text by text."""
    out = np.zeros((BATCH, TOKENS, HEADS, WIDTH))
    for b, h, t in np.ndindex(BATCH, HEADS, TOKENS):
        keys = [key[b, h, s] for s in range(TOKENS) if visible[b, s]]
        values = [value[b, h, s] for s in range(TOKENS) if visible[b, s]]
        if front is not None:
            part = slice(h * WIDTH, (h + 1) * WIDTH)
            keys += [row[part] for row in front[0]]
            values += [row[part] for row in front[1]]
        scores = np.array([query[b, h, t] @ k for k in keys]) / np.sqrt(WIDTH)
        weights = np.exp(scores - scores.max())
        out[b, t, h] = (weights / weights.sum()) @ np.array(values)
    return out


@pytest.mark.parametrize("additive", [False, True])
@pytest.mark.parametrize("prefixed", [False, True])
@pytest.mark.parametrize("autocast, rotated", [(False, False), (True, False), (True, True)])
def test_only_inputs_and_output_are_rounded(additive, prefixed, autocast, rotated):
    """Rotated queries and keys are of float32, and stay so."""
    torch.manual_seed(0)
    module, front = Attention().train(), Front()
    if prefixed:
        PREFIXES[module] = front
    query, key, value = (
        torch.randn(BATCH, HEADS, TOKENS, WIDTH).to(dtype).requires_grad_()
        for dtype in [torch.float32 if rotated else torch.bfloat16] * 2 + [torch.bfloat16]
    )
    visible = torch.ones(BATCH, 1, 1, TOKENS, dtype=torch.bool)
    visible[1, ..., 3:] = False
    mask = visible.expand(-1, -1, TOKENS, -1)
    if additive:
        mask = torch.zeros(mask.shape).bfloat16().masked_fill(~mask, -1e9)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found, _ = prefix_attention(module, query, key, value, mask, scaling=WIDTH**-0.5)
    assert found.dtype == torch.bfloat16
    pair = [each.double().numpy() for each in front.keys_values()] if prefixed else None
    given = [each.detach().double().numpy() for each in (query, key, value)]
    wanted = by_hand(*given, visible[:, 0, 0].numpy(), pair)
    error = np.abs(found.detach().double().numpy() - wanted)
    assert (error <= ROUND * np.abs(wanted) + 1e-6).all(), "no rounding on the way"
    found.float().square().sum().backward()
    assert all(each.grad is not None and each.grad.dtype == each.dtype
               for each in (query, key, value))  # fmt: skip


def test_dropout_stays_torchs_own():
    """Its masks are drawn as without us, number by number."""
    module = Attention().train()
    query, key, value = (torch.randn(BATCH, HEADS, TOKENS, WIDTH).bfloat16() for _ in range(3))
    torch.manual_seed(3)
    found, _ = prefix_attention(module, query, key, value, None, dropout=0.5)
    torch.manual_seed(3)
    wanted = torch.nn.functional.scaled_dot_product_attention(query, key, value, dropout_p=0.5)
    assert torch.equal(found, wanted.transpose(1, 2))
