"""Leaving fishpal: LoRA merged into the encoder, or as a checkpoint that `peft` loads."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from fishpal.common.errors import PlanError
from fishpal.common.files import replacing, write_json
from fishpal.encoders.encoder import Projection, ports_of
from fishpal.models.classifier import Classifier
from fishpal.modules import Lora
from fishpal.modules.attach import mark_changed


@torch.no_grad()
def merge_lora(model: Classifier) -> None:
    """Add every LoRA's update to its projections' weights and detach it.

    The encoder is changed for good, and serves this model alone from here on; other kinds stay
    attached. Logits agree to rounding. `save` writes no merged model.
    """
    ports = ports_of(model.encoder)
    rest = []
    for module in model.detach():
        if not isinstance(module, Lora):
            rest.append(module)
            continue
        layer = ports[module.layer]
        for name, port in (("query", layer.query), ("value", layer.value)):
            port.linear.weight[port.rows] += module.update(name)
    if rest:
        model.attach(rest)
    mark_changed(model.encoder, "merged with a LoRA's", model)


@torch.no_grad()
def export_peft(model: Classifier, folder: str | Path) -> None:
    """Write a plan of LoRA alone as a `peft` checkpoint for the bare encoder, plus the head.

    `peft.PeftModel.from_pretrained(encoder, folder)` computes the same hidden states; pooling
    and `head.safetensors` (weight, bias) on top give the same logits. Where one linear makes
    query, key and value, the two updates are written as one of twice the rank.

    Raises:
        PlanError: where the model has other modules than LoRA, or none.
    """
    modules = list(model.candidates())
    loras = [module for module in modules if isinstance(module, Lora)]
    if not loras or len(loras) < len(modules):
        kinds = sorted({module.kind.value for module in modules}) or ["none"]
        raise PlanError(f"the plan's kinds are {', '.join(kinds)}; allowed for peft: lora alone")
    ports = ports_of(model.encoder)
    tensors: dict[str, Tensor] = {}
    for module in loras:
        layer = ports[module.layer]
        for name, (a, b) in _factors(module, layer.query, layer.value).items():
            tensors[f"base_model.model.{name}.lora_A.weight"] = a.cpu().contiguous()
            tensors[f"base_model.model.{name}.lora_B.weight"] = b.cpu().contiguous()
    rank = next(t.shape[0] for n, t in tensors.items() if n.endswith("lora_A.weight"))
    targets = sorted({name.removeprefix("base_model.model.").rsplit(".", 2)[0] for name in tensors})
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": loras[0].scale * rank}
    config |= {"lora_dropout": 0.0, "bias": "none", "target_modules": targets}
    config |= {"inference_mode": True}
    with replacing(folder) as draft:
        draft.mkdir()
        write_json(draft / "adapter_config.json", config)
        save_file(tensors, draft / "adapter_model.safetensors")
        head = {name: p.detach().cpu() for name, p in model.head.named_parameters()}
        save_file(head, draft / "head.safetensors")


def _factors(
    module: Lora, query: Projection, value: Projection
) -> dict[str, tuple[Tensor, Tensor]]:
    """Linear's name → A (r', d) and B (d_out, r'), so that the update is scale · B A."""
    if query.name != value.name:
        value_factors = (module.value_a, module.value_b)
        return {query.name: (module.query_a, module.query_b), value.name: value_factors}
    rank = len(module.query_a)
    b = module.query_b.new_zeros(query.linear.out_features, 2 * rank)
    b[query.rows, :rank], b[value.rows, rank:] = module.query_b, module.value_b
    return {query.name: (torch.cat([module.query_a, module.value_a]), b)}
