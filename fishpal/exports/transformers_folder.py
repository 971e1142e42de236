"""A model whose modules merge into its encoder, as a folder of transformers or of
sentence-transformers: other libraries then need to know nothing of fishpal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedModel

from fishpal.api.card import has_card, write_card
from fishpal.api.model import Model
from fishpal.common.checks import check_types
from fishpal.common.errors import PlanError, caution
from fishpal.common.files import replacing, write_json
from fishpal.encoders.classification import (
    classification_model,
    head_spec,
    head_tensors,
    named_config,
)
from fishpal.encoders.ports import config_of
from fishpal.encoders.tokenizer import digest_of
from fishpal.exports.merge import merge_lora
from fishpal.models.classifier import Classifier

COARSEST = 1e-4  # of the labels' spread, that a bias may round away: what exports promise


@contextmanager
def export_folder(
    folder: str | Path,
    model: Model,
    form: str,
    licence: str | None,
    own: Callable[[Path], bool] | None = None,
    **how: Any,
) -> Iterator[Path]:
    """A draft of the folder that gets tokenizer and model card, and appears as a whole.

    It takes the place of nothing but `own`; None: a folder with this form's model card.
    """
    own = own or partial(has_card, form=form)
    with replacing(folder, own, model.encoder.folder) as draft:
        draft.mkdir()
        yield draft
        _own_tokenizer(model).save_pretrained(draft)
        found = AutoTokenizer.from_pretrained(draft, local_files_only=True, trust_remote_code=False)
        if digest_of(found) != model.encoder.tokens_sha256:
            what = f"transformers makes another {type(found).__name__} of its tokenizer.json"
            caution(f"{folder}: {what}: elsewhere texts are cut otherwise, and answers are others")
        write_card(draft, model, form, licence, **how)


def _own_tokenizer(model: Model) -> Any:
    """One that pads, cuts and gives token types as the model does, whatever the encoder's own says.

    Others do as it says: they hand types to an encoder without any, as GPT-2, which adds the
    embeddings of these tokens then.
    """
    tokenizer = deepcopy(model.encoder.tokenizer)
    tokenizer.padding_side, tokenizer.model_max_length = "right", model.max_length
    if model.encoder.limits.types <= 1:
        names = [name for name in tokenizer.model_input_names if name != "token_type_ids"]
        tokenizer.model_input_names = tokenizer.init_kwargs["model_input_names"] = names
    return tokenizer


def merged(model: Model) -> Classifier:
    """A copy of the model whose encoder computes alone what it did with the modules.

    `PlanError` where one of its modules adds computation, and so cannot merge, or where its head
    compares the texts of pairs, which no head of those libraries does.
    """
    if model.module.compares:
        what = "the head compares the texts of pairs"
        raise PlanError(f"{what}; allowed: one of head.pairs joint (else `export_onnx`)")
    copied = model.copy(full=True).module
    merge_lora(copied)
    left = sorted({module.kind.value for module in copied.candidates()})
    if left:
        allowed = "a plan of kinds that merge, as lora (else `export_onnx`)"
        raise PlanError(f"the plan's {', '.join(left)} cannot be merged; allowed: {allowed}")
    return copied


@torch.no_grad()
def own_unit(model: Model) -> tuple[Tensor, Tensor]:
    """The head's weight (C, d) and bias (C); a regression's for predictions in the label's unit.

    `PlanError` where a float32 bias cannot tell its labels apart.
    """
    weight, bias = model.module.head.weight.cpu().clone(), model.module.head.bias.cpu().clone()
    scale = model.task.scale
    lost = 0.0 if scale is None else abs(scale.mean / scale.sd) * torch.finfo(bias.dtype).eps
    if scale is not None and lost > COARSEST:
        found = f"the labels are {scale.mean:.9g} ± {abs(scale.sd):.3g}"
        raise PlanError(f"{found}, which float32 rounds away; allowed: labels less their mean")
    return (weight, bias) if scale is None else (weight * scale.sd, bias * scale.sd + scale.mean)


def export_transformers(model: Model, folder: str | Path, licence: str | None = None) -> None:
    """Write transformers' own classification model, for `pipeline("text-classification")`.

    The logits agree to 1e-4. A regression gives its number (`function_to_apply="none"`).

    Raises:
        PlanError: where a module does not merge.
        EncoderError: where transformers' model takes no head on this pooling.
        FishpalError: where the folder holds files of others (`replacing`), or the encoder.
    """
    check_types(model=(model, Model), folder=(folder, (str, Path)))
    spec = head_spec(config_of(model.encoder.model), model.encoder.pooling)
    head = head_tensors(spec, *own_unit(model))
    encoder = merged(model).encoder.cpu()
    config = named_config(model.encoder.folder, model.classes)
    whole = classification_model(encoder, config, spec, head)
    with export_folder(folder, model, "transformers", licence) as draft:
        cast(PreTrainedModel, whole).save_pretrained(draft)


def export_sentence_transformers(
    model: Model, folder: str | Path, licence: str | None = None
) -> None:
    """Write a `SentenceTransformer` whose `encode` gives the logits, of any pooling.

    The layout of sentence-transformers: transformer, pooling, and the head as a dense layer.
    `PlanError` where a module does not merge, `FishpalError` where the folder holds files of
    others (`replacing`), or the encoder.
    """
    check_types(model=(model, Model), folder=(folder, (str, Path)))
    weight, bias = own_unit(model)
    encoder = cast(PreTrainedModel, merged(model).encoder.cpu())
    names, width = model.classes or ("value",), weight.shape[1]
    config_of(encoder).id2label = dict(enumerate(names))
    config_of(encoder).label2id = {name: number for number, name in enumerate(names)}
    pooling = {"word_embedding_dimension": width} | {
        f"pooling_mode_{each}": model.encoder.pooling == ours
        for each, ours in (("cls_token", "cls"), ("mean_tokens", "mean"), ("lasttoken", "last"))
    }
    dense = {"in_features": width, "out_features": len(weight), "bias": True}
    parts = {"": "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense"}
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{name}"}
        for i, (path, name) in enumerate(parts.items())
    ]
    with export_folder(folder, model, "sentence-transformers", licence) as draft:
        encoder.save_pretrained(draft)
        write_json(draft / "modules.json", modules)
        sizes = {"max_seq_length": model.max_length, "do_lower_case": False}
        write_json(draft / "sentence_bert_config.json", sizes)
        write_json(draft / "1_Pooling/config.json", pooling)
        identity = {"activation_function": "torch.nn.modules.linear.Identity"}
        write_json(draft / "2_Dense/config.json", dense | identity)
        tensors = {"linear.weight": weight, "linear.bias": bias}
        save_file(tensors, draft / "2_Dense/model.safetensors")
