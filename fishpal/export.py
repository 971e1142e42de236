"""Leaving fishpal: modules merged into the encoder, or LoRA as a checkpoint that `peft` loads."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from fishpal.common.errors import PlanError
from fishpal.common.files import replacing, write_json
from fishpal.common.kinds import Site
from fishpal.encoders.ports import Projection, ports_of
from fishpal.models.classifier import Classifier
from fishpal.modules import Lora
from fishpal.modules.attach import mark_changed


@torch.no_grad()
def merge_lora(model: Classifier) -> None:
    """Change the encoder's own weights by every LoRA, (IA)³ and change of biases, and detach these.

    The encoder is changed for good, and serves this model alone from here on; other kinds stay
    attached. Logits agree to rounding. `save` writes no merged model.
    """
    ports = ports_of(model.encoder)
    rest = [module for module in model.detach() if not module.merge(ports[module.layer])]
    if rest:
        model.attach(rest)
    mark_changed(model.encoder, "merged with a LoRA's", model)


@torch.no_grad()
def export_peft(model: Classifier, folder: str | Path) -> None:
    """Write a plan of LoRA alone as a `peft` checkpoint for the bare encoder, plus the head.

    `peft.PeftModel.from_pretrained(encoder, folder)` computes the same hidden states; pooling
    and `head.safetensors` (weight, bias) on top give the same logits. Where one linear makes
    query, key and value, their updates are written as one of that many times the rank.

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
    ranks: dict[str, int] = {}
    for module in loras:
        for name, (a, b) in _factors(module, ports[module.layer].sites).items():
            tensors[f"base_model.model.{name}.lora_A.weight"] = a.cpu().contiguous()
            tensors[f"base_model.model.{name}.lora_B.weight"] = b.cpu().contiguous()
            ranks[name] = len(a)
    rank, scale = min(ranks.values()), loras[0].scale
    own = {name: found for name, found in ranks.items() if found != rank}
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": scale * rank, "rank_pattern": own}
    config |= {"alpha_pattern": {name: scale * found for name, found in own.items()}}
    config |= {"lora_dropout": 0.0, "bias": "none", "target_modules": sorted(ranks)}
    config |= {"inference_mode": True}
    linears = [model.encoder.get_submodule(name) for name in ranks]
    config |= {"fan_in_fan_out": not any(isinstance(linear, nn.Linear) for linear in linears)}
    with replacing(folder) as draft:
        draft.mkdir()
        write_json(draft / "adapter_config.json", config)
        save_file(tensors, draft / "adapter_model.safetensors")
        head = {name: p.detach().cpu() for name, p in model.head.named_parameters()}
        save_file(head, draft / "head.safetensors")


def _factors(module: Lora, ports: Mapping[Site, Projection]) -> dict[str, tuple[Tensor, Tensor]]:
    """Linear's name → A (r', d_in) and B (d_out, r'), so that the update is scale · B A."""
    found: dict[str, tuple[Tensor, Tensor]] = {}
    for site in module.sites:
        port, (a, b) = ports[site], module.factors(site)
        if port.parts > 1:
            whole = b.new_zeros(port.parts * len(b), b.shape[1])
            whole[port.rows] = b
            b = whole
        if port.name in found:
            before = found[port.name]
            a, b = torch.cat([before[0], a]), torch.cat([before[1], b], dim=1)
        found[port.name] = (a, b)
    return found
