"""Slow, obvious re-computations in float64 that the library is held to."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

from fishpal.common.kinds import Estimator
from fishpal.models.classifier import Classifier
from fishpal.models.head import Head
from fishpal.modules import CandidateModule
from fishpal.records.examples import Example

HIDE = -1e30  # not -inf: a padding query that sees nothing must not turn into NaN
ORACLE_PREFIX: dict[int, tuple[Tensor, Tensor]] = {}
"""id of the attention module → keys and values (p, d) that the oracle puts in front."""


def plain_attention(module, query, key, value, attention_mask, scaling=None, **kwargs):  # type: ignore[no-untyped-def]
    """Softmax attention, one example and one head at a time."""
    batch, heads, length, width = query.shape
    group = heads // key.shape[1]
    if attention_mask is None and getattr(module, "is_causal", False):
        attention_mask = (
            torch.ones(length, length, dtype=torch.bool).tril().expand(batch, 1, -1, -1)
        )
    output = torch.zeros(batch, length, heads, width, dtype=query.dtype)
    for b in range(batch):
        for h in range(heads):
            keys, values, prefix = key[b, h // group], value[b, h // group], 0
            if id(module) in ORACLE_PREFIX:
                place = slice(h // group * width, (h // group + 1) * width)
                front = [t[:, place] for t in ORACLE_PREFIX[id(module)]]
                keys, values = torch.cat([front[0], keys]), torch.cat([front[1], values])
                prefix = len(front[0])
            for t in range(length):
                weights = keys @ query[b, h, t] * (scaling or width**-0.5)
                if kwargs.get("softcap"):
                    weights = kwargs["softcap"] * (weights / kwargs["softcap"]).tanh()
                if attention_mask is not None:
                    row = attention_mask[b, 0]
                    visible = row[t if len(row) > 1 else 0]
                    shown = torch.cat([torch.ones(prefix, dtype=torch.bool), visible])
                    weights = weights.masked_fill(~shown, HIDE)
                output[b, t, h] = weights.softmax(0) @ values
    return output, None


def own_attention(attention, kind):  # type: ignore[no-untyped-def]
    """Such a `forward` for MPNet's or DeBERTa's attention, whose positions are the model's own."""
    heads, width = attention.num_attention_heads, attention.attention_head_size
    mpnet = kind == "mpnet"
    names = ("q", "k", "v") if mpnet else ("query_proj", "key_proj", "value_proj")

    def forward(hidden, mask, position_bias=None, output_attentions=False, **given):  # type: ignore[no-untyped-def]
        parts = [getattr(attention, name)(hidden) for name in names]
        query, key, value = (t.unflatten(-1, (heads, width)).transpose(1, 2) for t in parts)
        parts = 1 if mpnet else 1 + len(attention.pos_att_type)
        bias = torch.zeros(1, 1, 1, 1) if position_bias is None else position_bias
        if not mpnet and attention.relative_attention:
            flat, places = (t.flatten(0, 1) for t in (query, key)), given["relative_pos"]
            bias = attention.disentangled_attention_bias(
                *flat, places, given["rel_embeddings"], parts
            ).unflatten(0, (-1, heads))
        shape = (len(hidden), heads, hidden.shape[1], hidden.shape[1])
        mask = torch.zeros(1) if mask is None else mask  # of MPNet's, where nothing is padded
        bias, visible = bias.expand(shape), (mask > -1 if mpnet else mask.bool()).expand(shape)
        front = ORACLE_PREFIX.get(id(attention), torch.zeros(2, 0, heads * width).double())
        front = [t.unflatten(-1, (heads, width)) for t in front]
        output = torch.zeros_like(query)
        for b, h, t in product(*map(range, shape[:3])):
            own = query[b, h, t] @ key[b, h].T / (width * parts) ** 0.5 + bias[b, h, t]
            own = own.masked_fill(~visible[b, h, t], HIDE)
            before = front[0][:, h] @ query[b, h, t] / (width * parts) ** 0.5
            weights = torch.cat([before, own]).softmax(0)
            output[b, h, t] = weights @ torch.cat([front[1][:, h], value[b, h]])
        output = output.transpose(1, 2).flatten(-2)
        return (attention.o(output),) if mpnet else (output, None)

    return forward


AttentionInterface.register("oracle", plain_attention)
AttentionMaskInterface.register("oracle", sdpa_mask)


def single(example: Example) -> dict[str, Tensor]:
    """A batch of one, at its true length."""
    ids = torch.tensor([example.input_ids])
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    second = example.second
    return batch if second is None else batch | {"second": torch.tensor([second])}


def example_gradient(
    model: Classifier, module: CandidateModule, example: Example, label: int | float
) -> dict[str, Tensor]:
    """∇ log p(label|x) by one forward and one backward for one example."""
    parameters = module.kept()
    logits = model(**single(example))[0]
    if isinstance(label, float):
        log_p = -0.5 * (label - logits[0]) ** 2
    else:
        log_p = logits.log_softmax(0)[label]
    found = torch.autograd.grad(log_p, list(parameters.values()), allow_unused=True)
    return {
        name: torch.zeros_like(p) if g is None else g
        for (name, p), g in zip(parameters.items(), found, strict=True)
    }


def fisher_by_loop(
    model: Classifier,
    module: CandidateModule,
    examples: list[Example],
    estimator: Estimator,
    draws: list[int | float] | None = None,
) -> dict[str, Tensor]:
    """Diagonal Fisher of one module's kept tensors, by plain loops over examples and classes.

    Args:
        draws: for `sampled`, the label that was drawn for each example.
    """
    total = {name: torch.zeros_like(t) for name, t in module.kept().items()}
    for number, example in enumerate(examples):
        logits = model(**single(example))[0].detach()
        cases: list[tuple[float, int | float]] = [(1.0, example.label)]
        if estimator is Estimator.SAMPLED:
            assert draws is not None
            cases = [(1.0, draws[number])]
        elif estimator is Estimator.EXACT and len(logits) == 1:
            # E (y - f)^2 = 1: one label at distance 1 has the expected square.
            cases = [(1.0, float(logits[0] + 1.0))]
        elif estimator is Estimator.EXACT:
            cases = [(float(p), c) for c, p in enumerate(logits.softmax(0))]
        for weight, label in cases:
            for name, g in example_gradient(model, module, example, label).items():
                total[name] += weight * g.detach() ** 2 / len(examples)
    return total


def double_copy(head: Head) -> Head:
    """The same head in float64."""
    copy = Head(head.in_features, head.facts).double()
    copy.load_state_dict({k: v.double() for k, v in head.state_dict().items()})
    return copy
