"""A linear head on the first token, written into transformers' own classification models.

These put a dense layer and an activation f between the pooled vector and the logits. Two ways
lead through it to the logits z = W h + b of a linear head (h: (d), z: (C)):

* f(y) − f(−y) = y, for ReLU, GELU and SiLU: the dense layer makes z and −z in its first 2·C
  outputs, and the last layer takes their difference. Exact, where 2·C ≤ d.
* tanh(y) = y − y³/3 + …: the dense layer makes ε·W h in its first C outputs, and the last layer
  divides by ε (`_small`), a power of two, so that no rounding is added.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fishpal.common.errors import EncoderError
from fishpal.encoders.specs import load_config

SMALL = 2.0**-14


class HeadSpec(NamedTuple):
    """Paths of the two linears, below the classification model, and whether tanh is between."""

    dense: str
    out: str
    tanh: bool = False

    @property
    def modules(self) -> list[str]:
        """What holds both linears: the module that both are in, or each."""
        inside = self.dense.split(".")[0] == self.out.split(".")[0]
        return [self.out.split(".")[0]] if inside else [self.dense, self.out]


_ROBERTA = HeadSpec("classifier.dense", "classifier.out_proj", tanh=True)
HEADS = {
    "bert": HeadSpec("bert.pooler.dense", "classifier", tanh=True),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "mpnet": _ROBERTA,
    "electra": HeadSpec("classifier.dense", "classifier.out_proj"),
    "distilbert": HeadSpec("pre_classifier", "classifier"),
    "deberta-v2": HeadSpec("pooler.dense", "classifier"),
}


# Activations f of which f(y) − f(−y) = y, so that two of them give a logit back.
ODD = ("relu", "gelu", "gelu_new", "quick_gelu", "silu")


def head_spec(config: Any, pooling: str) -> HeadSpec:
    """Where transformers' classification model of an encoder with this config takes our head.

    `EncoderError` where it has another pooling, (ModernBERT) a normalisation in its head, or
    (DeBERTa, whose config says) another width or activation there.
    """
    kind = str(config.model_type)
    if pooling != "cls" or kind not in HEADS:
        allowed = f"cls pooling, and {', '.join(HEADS)}"
        raise EncoderError(
            f"transformers' own classification model takes no head on {pooling} pooling of a"
            f" {kind}; allowed: {allowed} (else `export_sentence_transformers`, `export_onnx`)"
        )
    allowed_of = {"pooler_hidden_act": ODD, "pooler_hidden_size": (config.hidden_size,)}
    for key, allowed_values in allowed_of.items():
        found = getattr(config, key, None)
        if found is not None and found not in allowed_values:
            known = ", ".join(map(str, allowed_values))
            raise EncoderError(f"the encoder's config: {key} is {found}; allowed: {known}")
    return HEADS[kind]


def head_tensors(spec: HeadSpec, weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
    """A head (C, d), (C) as weights and biases of the two linears, by their names.

    `EncoderError` where the dense layer has too few outputs for the classes.
    """
    classes, width = weight.shape
    most = width if spec.tanh else width // 2
    if classes > most:
        raise EncoderError(f"the head has {classes} classes; allowed in this model: up to {most}")
    dense, dense_bias = weight.new_zeros(width, width), weight.new_zeros(width)
    out, eye = weight.new_zeros(classes, width), torch.eye(classes, dtype=weight.dtype)
    if spec.tanh:
        small = _small(weight)
        dense[:classes], out[:, :classes] = small * weight, eye / small
        out_bias = bias.clone()
    else:
        dense[: 2 * classes] = torch.cat([weight, -weight])
        dense_bias[: 2 * classes] = torch.cat([bias, -bias])
        out[:, : 2 * classes] = torch.cat([eye, -eye], dim=1)
        out_bias = torch.zeros_like(bias)
    return {
        f"{spec.dense}.weight": dense,
        f"{spec.dense}.bias": dense_bias,
        f"{spec.out}.weight": out,
        f"{spec.out}.bias": out_bias,
    }


def _small(weight: Tensor) -> float:
    """ε of a head (C, d): 2⁻¹⁴, and less by the power of two that makes no row longer than 2⁻¹⁴.

    With y = ε·w h, tanh loses y²/3 of a logit w h. Since |y| ≤ ε·‖w‖·‖h‖ ≤ 2⁻¹⁴·‖h‖, that is a
    share of (2⁻¹⁴·‖h‖)²/3 at most: 10⁻⁶ at ‖h‖ = 30. Without the second power a regression's head
    in a label's unit of 10⁶ would make y ≈ 60, and tanh(y) = 1.
    """
    longest = float(weight.double().norm(dim=1).max())
    return SMALL / 2.0 ** math.ceil(math.log2(max(longest, 1.0)))


def named_config(folder: Any, labels: tuple[str, ...] | None) -> Any:
    """The encoder's config with a task's class names; one number without them: a regression.

    Its dtype is what weights are loaded and merged in, whatever the encoder's own were kept in.
    """
    config = load_config(folder)
    names = labels or ("value",)
    config.num_labels = len(names)
    config.id2label = dict(enumerate(names))
    config.label2id = {name: number for number, name in enumerate(names)}
    config.dtype = torch.float32
    config.problem_type = "single_label_classification" if labels else "regression"
    return config


def classification_model(
    encoder: nn.Module, config: Any, spec: HeadSpec, head: dict[str, Tensor]
) -> nn.Module:
    """transformers' own classification model with an encoder's weights and a head's tensors."""
    from transformers import AutoModelForSequenceClassification  # here: slow to import

    model = AutoModelForSequenceClassification.from_config(config)
    base = getattr(model, model.base_model_prefix)
    rest = base.load_state_dict(encoder.state_dict(), strict=False)
    lacking = [f"{model.base_model_prefix}.{name}" for name in rest.missing_keys]
    unknown = [name for name in lacking if not name.startswith(spec.dense)]
    if unknown or rest.unexpected_keys:
        found = (*unknown, *rest.unexpected_keys)
        raise EncoderError(f"encoder: its classification model differs in {', '.join(found)}")
    model.load_state_dict(head, strict=False)
    return model.eval()


def base_prefix(config: Any) -> str:
    """The encoder's name within its classification model."""
    from transformers import AutoModelForSequenceClassification

    return str(AutoModelForSequenceClassification._model_mapping[type(config)].base_model_prefix)
