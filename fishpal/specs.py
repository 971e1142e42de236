"""Which encoder types are supported, and what their parts are called.

The only file that knows attribute names of Hugging Face models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fishpal.errors import EncoderError, one_of


@dataclass(frozen=True)
class EncoderSpec:
    """Roles → attribute paths, below the model for `layers` and below a layer for the rest.

    Attributes:
        attention: the module that calls transformers' attention interface; None where the
            model computes attention itself, so that it can take no prefix.
        query, value: the projections; the same path twice where one linear makes all three.
        up, down: the feed-forward block's first and last linear.
        pooler: the model class takes `add_pooling_layer` (we pool ourselves).
    """

    layers: str
    attention: str | None
    query: str
    value: str
    up: str
    down: str
    pooler: bool = False


_BERT = EncoderSpec(
    layers="encoder.layer",
    attention="attention.self",
    query="attention.self.query",
    value="attention.self.value",
    up="intermediate.dense",
    down="output.dense",
    pooler=True,
)
SPECS = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "camembert": _BERT,
    "electra": EncoderSpec(**{**vars(_BERT), "pooler": False}),
    "distilbert": EncoderSpec(
        layers="transformer.layer",
        attention="attention",
        query="attention.q_lin",
        value="attention.v_lin",
        up="ffn.lin1",
        down="ffn.lin2",
    ),
    "modernbert": EncoderSpec(
        layers="layers",
        attention="attn",
        query="attn.Wqkv",
        value="attn.Wqkv",
        up="mlp.Wi",
        down="mlp.Wo",
    ),
    "mpnet": EncoderSpec(
        layers="encoder.layer",
        attention=None,
        query="attention.attn.q",
        value="attention.attn.v",
        up="intermediate.dense",
        down="output.dense",
        pooler=True,
    ),
    "deberta-v2": EncoderSpec(
        layers="encoder.layer",
        attention=None,
        query="attention.self.query_proj",
        value="attention.self.value_proj",
        up="intermediate.dense",
        down="output.dense",
    ),
}


def spec_of(config: Any) -> EncoderSpec:
    """The spec of a model's config.

    Raises:
        EncoderError: naming the type and the supported ones.
    """
    kind = str(getattr(config, "model_type", None))
    if kind == "albert":
        raise EncoderError(
            "encoder type is 'albert', whose layers share one set of weights, so that a module"
            " cannot belong to one layer; allowed: " + ", ".join(sorted(SPECS))
        )
    if kind not in SPECS:
        raise EncoderError(one_of("encoder type", kind, SPECS))
    return SPECS[kind]
