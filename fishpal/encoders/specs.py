"""Which encoder types are supported, decoders among them, and what their parts are called.

The only file that knows attribute names of Hugging Face models.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from fishpal.common.errors import EncoderError, brief, one_of
from fishpal.common.kinds import Site
from fishpal.records.facts import Limits


@dataclass(frozen=True)
class EncoderSpec:
    """Roles → attribute paths, below the model for `layers` and below a layer for the rest.

    Attributes:
        attention: the module that computes attention.
        rewritten: the function of `encoders.own_attention` that does it instead, for a model
            that ignores transformers' attention interface.
        query, key, value: the projections; the same path where one linear makes all three.
        output: the attention's output projection.
        up, down: the feed-forward block's first and last linear.
        gate: that of a gated block, where it is a linear of its own.
        pooler: the model class takes `add_pooling_layer` (we pool ourselves).
        positions: `learned` from 0 on; `padded`: learned, the first after the padding's index;
            `relative` ones have no last.
        padding: its index, where that is not the config's.
        causal: a decoder, whose tokens see what precedes them alone.
    """

    layers: str
    attention: str
    query: str
    key: str
    value: str
    output: str
    up: str
    down: str
    gate: str | None = None
    rewritten: str | None = None
    pooler: bool = False
    positions: Literal["learned", "padded", "relative"] = "learned"
    padding: int | None = None
    causal: bool = False

    @property
    def sites(self) -> list[tuple[Site, str]]:
        """Every projection that a layer has, and its path, in the order of `Site`."""
        paths = [(site, getattr(self, site)) for site in Site]
        return [(site, path) for site, path in paths if path is not None]


_BERT = EncoderSpec(
    layers="encoder.layer",
    attention="attention.self",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    output="attention.output.dense",
    up="intermediate.dense",
    down="output.dense",
    pooler=True,
)
_ROBERTA = replace(_BERT, positions="padded")
_LLAMA = EncoderSpec(
    layers="layers",
    attention="self_attn",
    query="self_attn.q_proj",
    key="self_attn.k_proj",
    value="self_attn.v_proj",
    output="self_attn.o_proj",
    gate="mlp.gate_proj",
    up="mlp.up_proj",
    down="mlp.down_proj",
    positions="relative",
    causal=True,
)
SPECS = {
    "bert": _BERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "electra": replace(_BERT, pooler=False),
    "distilbert": EncoderSpec(
        layers="transformer.layer",
        attention="attention",
        query="attention.q_lin",
        key="attention.k_lin",
        value="attention.v_lin",
        output="attention.out_lin",
        up="ffn.lin1",
        down="ffn.lin2",
    ),
    "modernbert": EncoderSpec(
        layers="layers",
        attention="attn",
        query="attn.Wqkv",
        key="attn.Wqkv",
        value="attn.Wqkv",
        output="attn.Wo",
        up="mlp.Wi",
        down="mlp.Wo",
        positions="relative",
    ),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma2": _LLAMA,
    "gemma3_text": _LLAMA,
    "gpt2": EncoderSpec(
        layers="h",
        attention="attn",
        query="attn.c_attn",
        key="attn.c_attn",
        value="attn.c_attn",
        output="attn.c_proj",
        up="mlp.c_fc",
        down="mlp.c_proj",
        causal=True,
    ),
    "mpnet": replace(
        _ROBERTA,
        attention="attention.attn",
        rewritten="mpnet",
        padding=1,
        query="attention.attn.q",
        key="attention.attn.k",
        value="attention.attn.v",
        output="attention.attn.o",
    ),
    "deberta-v2": replace(
        _BERT,
        rewritten="deberta-v2",
        query="attention.self.query_proj",
        key="attention.self.key_proj",
        value="attention.self.value_proj",
        pooler=False,
    ),
}

UNSTEADY = ("dynamic", "longrope")  # rotary positions that change with the lengths in a batch


def spec_of(config: Any) -> EncoderSpec:
    """The spec of a model's config; `EncoderError` names its type and the supported ones."""
    kind = str(getattr(config, "model_type", None))
    if kind == "albert":
        raise EncoderError(
            "encoder type is 'albert', whose layers share one set of weights, so that a module"
            " cannot belong to one layer; allowed: " + ", ".join(sorted(SPECS))
        )
    if kind not in SPECS:
        raise EncoderError(one_of("encoder type", kind, SPECS))
    rope = getattr(config, "rope_parameters", None) or {}
    for each in (rope, *rope.values()):  # of all layers, or by their type
        if isinstance(each, dict) and each.get("rope_type") in UNSTEADY:
            what = f"rope_type is '{each['rope_type']}', by which the longest text of a batch"
            raise EncoderError(f"{what} decides what others get; allowed: any but {UNSTEADY}")
    return SPECS[kind]


def sees_behind_alone(config: Any) -> bool:
    """Whether a token sees those before it alone: types' own way, and what a config makes of it."""
    causal = spec_of(config).causal or getattr(config, "is_decoder", False)
    return bool(causal) and not getattr(config, "use_bidirectional_attention", False)


def load_config(folder: str | Path) -> Any:
    """The config of the encoder in a local folder, whose code is never run.

    `EncoderError` names a folder that has none, or none that transformers reads.
    """
    from transformers import AutoConfig  # here: slow to import

    if not (Path(folder) / "config.json").is_file():
        allowed = "a folder that save_pretrained wrote"
        raise EncoderError(f"{folder}: has no config.json; allowed: {allowed}")
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        # A config may name a hub repository here, whose code transformers would fetch and run.
        config._attn_implementation = config._experts_implementation = None
        # Whatever it says: what a model returns is read by its names; chunks save memory alone.
        config.return_dict, config.chunk_size_feed_forward = True, 0
    except Exception as error:  # transformers raises a dozen types here
        raise EncoderError(f"{folder}/config.json: {brief(error, 160)}") from error
    return config


def limits_of(config: Any) -> Limits:
    """What an encoder with this config can read; anything beyond ends in torch's own error.

    `EncoderError` where it counts positions from a pad token's id that it does not have.
    """
    spec = spec_of(config)
    types = int(getattr(config, "type_vocab_size", None) or 0)
    # DeBERTa alone lets its config choose.
    if spec.positions == "relative" or not getattr(config, "position_biased_input", True):
        return Limits(int(config.vocab_size), types, None)
    first = 0
    if spec.positions == "padded":
        if config.pad_token_id is None and spec.padding is None:
            what = f"config.json: pad_token_id is null, which {config.model_type} counts positions"
            raise EncoderError(f"{what} from; allowed: the id of its pad token")
        padding = config.pad_token_id if spec.padding is None else spec.padding
        first = int(padding) + 1
    return Limits(int(config.vocab_size), types, int(config.max_position_embeddings) - first)
