"""Leaving fishpal: modules merged into the encoder, or as a checkpoint that `peft` loads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from fishpal.common.errors import PlanError
from fishpal.common.files import replacing, write_json
from fishpal.common.kinds import Site
from fishpal.encoders.ports import LayerPorts, Projection, ports_of
from fishpal.models.classifier import Classifier
from fishpal.modules import Ia3, Lora
from fishpal.modules.attach import mark_changed
from fishpal.modules.ia3 import SCALED

Checkpoint = tuple[dict[str, Any], dict[str, Tensor]]  # config and tensors, by module's name


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
    """Write a plan of LoRA alone, or (IA)³ alone, as a `peft` checkpoint for the bare encoder,
    plus the head.

    `peft.PeftModel.from_pretrained(encoder, folder)` computes the same hidden states; pooling
    and `head.safetensors` (weight, bias) on top give the same logits. Where one linear makes
    query, key and value, their updates are written as one of that many times the rank.

    Raises:
        PlanError: where the model has other modules, or several kinds, or none.
    """
    modules, ports = list(model.candidates()), ports_of(model.encoder)
    loras = [module for module in modules if isinstance(module, Lora)]
    scales = [module for module in modules if isinstance(module, Ia3)]
    if not modules or len(modules) not in (len(loras), len(scales)):
        kinds = sorted({module.kind.value for module in modules}) or ["none"]
        allowed = "lora alone, or ia3 alone"
        raise PlanError(f"the plan's kinds are {', '.join(kinds)}; allowed for peft: {allowed}")
    config, tensors = _lora(loras, ports) if loras else _ia3(scales, ports)
    head = {name: p.detach().cpu() for name, p in model.head.named_parameters()}
    with replacing(folder) as draft:
        draft.mkdir()
        write_json(draft / "adapter_config.json", config | {"inference_mode": True})
        named = {f"base_model.model.{n}": t.cpu().contiguous() for n, t in tensors.items()}
        save_file(named, draft / "adapter_model.safetensors")
        save_file(head, draft / "head.safetensors")


def _lora(modules: list[Lora], ports: list[LayerPorts]) -> Checkpoint:
    tensors: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    for module in modules:
        for name, (a, b) in _factors(module, ports[module.layer].sites).items():
            tensors |= {f"{name}.lora_A.weight": a, f"{name}.lora_B.weight": b}
            ranks[name] = len(a)
    rank, scale = min(ranks.values()), modules[0].scale
    own = {name: found for name, found in ranks.items() if found != rank}
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": scale * rank, "rank_pattern": own}
    config |= {"alpha_pattern": {name: scale * found for name, found in own.items()}}
    config |= {"lora_dropout": 0.0, "bias": "none", "target_modules": sorted(ranks)}
    return config, tensors


def _ia3(modules: list[Ia3], ports: list[LayerPorts]) -> Checkpoint:
    """peft scales outputs by columns (d_out, 1), and inputs of feed-forward blocks by rows."""
    scales: dict[str, Tensor] = {}
    inputs = []
    for module in modules:
        sites = ports[module.layer].sites
        for site in SCALED:
            port = sites[site]
            scale = scales.setdefault(port.name, torch.ones(port.parts * len(port.weight), 1))
            scale[port.rows, 0] = 1 + module.get_parameter(site).cpu()
        inputs.append(sites[Site.DOWN].name)
        scales[inputs[-1]] = 1 + module.feed_forward.unsqueeze(0)
    config = {"peft_type": "IA3", "target_modules": sorted(scales), "feedforward_modules": inputs}
    return config, {f"{name}.ia3_l": scale for name, scale in scales.items()}


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
