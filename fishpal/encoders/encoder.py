"""Pretrained encoders: loading them, frozen, with the facts that always travel along."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, cast, get_args

import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel
from transformers.utils import logging

from fishpal.common.checks import check_choice
from fishpal.common.errors import EncoderError, brief, caution
from fishpal.common.files import read_json
from fishpal.common.validate import decode
from fishpal.encoders.attention import ATTENTION, KeysValues, captured
from fishpal.encoders.own_attention import rewrite
from fishpal.encoders.pooling import written_pooling
from fishpal.encoders.ports import LayerShape, config_of, ports_of
from fishpal.encoders.specs import limits_of, load_config, sees_behind_alone, spec_of
from fishpal.records.facts import EncoderFacts, Limits, Pooling

DERIVED = ("masked_bias", "inv_freq")  # tensors that older files hold and the model computes


def facts_of(model: nn.Module) -> EncoderFacts:
    """Type, depth, width and parameter count of an encoder."""
    return EncoderFacts(
        type=str(config_of(model).model_type),
        layers=len(ports_of(model)),
        hidden=int(config_of(model).hidden_size),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
    )


def fingerprint(model: nn.Module) -> str:
    """SHA-256 over the names and bytes of all weights, whatever device they are on."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


@dataclass(frozen=True)
class Encoder:
    """A frozen encoder and what always travels with it.

    Attributes:
        model: in eval mode, nothing of it requiring gradients.
        sha256: `fingerprint` of its weights when it was loaded.
    """

    model: nn.Module = field(repr=False)
    pooling: Pooling
    facts: EncoderFacts
    limits: Limits
    sha256: str

    @property
    def shapes(self) -> tuple[LayerShape, ...]:
        """What the sizes of every layer's modules depend on."""
        return tuple(layer.shape for layer in ports_of(self.model))

    @classmethod
    def of(cls, model: nn.Module, pooling: Pooling | None = None) -> Self:
        """Freeze a model of transformers and gather its facts (`EncoderError` as `ports_of`).

        Its attention becomes ours, which computes the same until a prefix is attached. Pooling is
        by default `mean`, a decoder's `last`; `ParamsError` for any that there is not.
        """
        if pooling is not None:
            check_choice("pooling", pooling, get_args(Pooling))
        causal = sees_behind_alone(config_of(model))
        if causal and pooling == "cls":
            what = f"pooling is 'cls', and the first token of {config_of(model).model_type}"
            raise EncoderError(f"{what} sees no other; allowed: last, mean")
        pooling = pooling or ("last" if causal else "mean")
        facts, limits = facts_of(model), limits_of(config_of(model))
        _take_over_attention(model)
        model.requires_grad_(False).eval()
        config_of(model).use_cache = False  # of decoders, for generating
        return cls(model, pooling, facts, limits, fingerprint(model))

    def hidden_states(self, input_ids: Tensor, attention_mask: Tensor, **inputs: Any) -> Tensor:
        """The last hidden states (B, T, d)."""
        if spec_of(config_of(self.model)).causal:  # which count from the first token, padded or not
            counted = (attention_mask.cumsum(dim=-1) - 1).clamp(min=0)
            inputs.setdefault("position_ids", counted)
        output = self.model(input_ids=input_ids, attention_mask=attention_mask, **inputs)
        return cast(Tensor, output.last_hidden_state)

    @torch.no_grad()
    def keys_values(self, input_ids: Tensor, **inputs: Any) -> list[KeysValues]:
        """Every layer's keys and values of one text (1, T), (T, d) each, in eval mode.

        d is the width of the layer's keys; they are those that attention multiplies. Where the
        model rotates them by position, the text's positions are −T to −1: rotation tells
        distances alone, and so as a prefix, before tokens that count from 0, they are as far from
        these as a text in front is. Learned positions have no negative ones, and begin at the
        first.
        """
        if spec_of(config_of(self.model)).positions == "relative":
            inputs["position_ids"] = torch.arange(-input_ids.shape[1], 0).to(input_ids)[None]
        attentions = [layer.attention for layer in ports_of(self.model)]
        training = self.model.training
        self.model.eval()
        try:
            with captured(attentions) as found:
                self.hidden_states(input_ids, torch.ones_like(input_ids), **inputs)
        finally:
            self.model.train(training)
        return [(keys[0], values[0]) for keys, values in (found[each] for each in attentions)]

    def to(self, device: torch.device | str) -> Self:
        """Move the model, in place."""
        self.model.to(device)
        return self


def load_encoder(folder: str | Path, pooling: Pooling | None = None) -> Encoder:
    """Load a supported encoder from a local folder: frozen, in float32, in eval mode.

    Reads safetensors only and never runs code from the folder.

    Args:
        pooling: None: as the folder says, in a file of fishpal's or of sentence-transformers', else
            as `Encoder.of`. Another one than it says is taken with a warning.

    Raises:
        EncoderError: naming the folder and what is missing, unreadable or unsupported.
        ParamsError: `pooling` is none of `Pooling`.
    """
    folder = Path(folder)
    model = _load_model(folder)
    written = written_pooling(folder)
    if pooling is not None and written not in (None, pooling):
        caution(f"{folder}: pooling is {pooling}, and the folder's own says {written}")
    return Encoder.of(model, written if pooling is None else pooling)


def _load_model(folder: Path) -> nn.Module:
    config = load_config(folder)
    spec = spec_of(config)
    if getattr(config, "add_cross_attention", False):
        raise EncoderError(f"{folder}: add_cross_attention is true; allowed: false")
    _check_shards(folder / "model.safetensors.index.json")
    if (folder / "adapter_config.json").is_file():  # which transformers would put to work
        raise EncoderError(f"{folder}: has adapter_config.json; allowed: an encoder merged with it")
    options: dict[str, Any] = {"add_pooling_layer": False} if spec.pooler else {}
    try:
        with _quiet():
            model, report = AutoModel.from_pretrained(
                folder,
                config=config,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # named below, instead of in a silenced report
                **options,
            )
    except Exception as error:  # transformers raises a dozen types here
        raise EncoderError(f"{folder}: cannot be loaded: {brief(error, 160)}") from error
    missing = sorted(report["missing_keys"]) + [str(key) for key in report["mismatched_keys"]]
    if missing:
        raise EncoderError(f"{folder}: lacks {len(missing)} weights, the first '{missing[0]}'")
    unused = sorted(report["unexpected_keys"])  # heads' among them, which we do without
    of_layers = [key for key in unused if f".{spec.layers}." in f".{key}"]
    if left := [key for key in of_layers if key.split(".")[-1] not in DERIVED]:
        what = f"{len(left)} weights of layers have no place in the model, the first '{left[0]}'"
        caution(f"{folder}: {what}: left out, and what the encoder computes may be another thing")
    return cast(nn.Module, model)


def _take_over_attention(model: nn.Module) -> None:
    kind = spec_of(config_of(model)).rewritten
    if kind is None:
        cast(PreTrainedModel, model).set_attn_implementation(ATTENTION)
        return
    for layer in ports_of(model):
        rewrite(layer.attention, kind)


def _check_shards(index: Path) -> None:
    """An index of shards may name any file, and transformers unpickles what is no safetensors."""
    if not index.is_file():
        return
    content = decode(dict[str, Any], read_json(index), str(index))
    for name in decode(dict[str, str], content.get("weight_map"), f"{index}: weight_map").values():
        if Path(name).name != name or not name.endswith(".safetensors"):
            allowed = "names of .safetensors files beside it"
            raise EncoderError(f"{index}: names '{brief(name)}'; allowed: {allowed}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers' progress bar and its report of unused weights for one load."""
    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
