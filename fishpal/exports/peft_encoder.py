"""LoRA or (IA)³ as a checkpoint of `peft` for the bare encoder, with the head beside."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from fishpal.api.card import has_card
from fishpal.api.encoder import TextEncoder
from fishpal.common.errors import PlanError
from fishpal.common.files import replacing, write_json
from fishpal.common.kinds import Site
from fishpal.encoders.ports import LayerPorts, Projection, ports_of
from fishpal.models.classifier import Classifier
from fishpal.modules import Lora
from fishpal.modules.ia3 import SCALED

CONFIG, WEIGHTS, HEAD = "adapter_config.json", "adapter_model.safetensors", "head.safetensors"
BASE = "base_model_name_or_path"  # a key of CONFIG


def is_own(folder: Path) -> bool:
    """Whether a folder looks like an export for `peft`: with the card, or the head beside."""
    return has_card(folder, "peft") or all(
        (folder / name).is_file() for name in (CONFIG, WEIGHTS, HEAD)
    )


@torch.no_grad()
def export_peft(model: Classifier, folder: str | Path) -> None:
    """Write a plan of LoRA alone, or of (IA)³, as a `peft` checkpoint, plus the head.

    `peft.PeftModel.from_pretrained(encoder, folder)` computes the same hidden states of the bare
    encoder; pooling and `head.safetensors` (weight, bias) on top give the same logits. Where one
    linear makes query, key and value, their LoRAs are written as one of that many times the rank.

    Raises:
        PlanError: where the model has modules of other kinds, of several, with gates, or none.
        FishpalError: where the folder holds files of others (`replacing`), or the encoder.
    """
    kinds = sorted({module.kind.value for module in model.candidates()}) or ["none"]
    writers = {"lora": _lora, "ia3": _ia3}
    if len(kinds) > 1 or kinds[0] not in writers:
        allowed = "lora alone, or ia3 alone"
        raise PlanError(f"the plan's kinds are {', '.join(kinds)}; allowed for peft: {allowed}")
    if any(module.gate is not None for module in model.candidates()):
        raise PlanError("the plan's modules have gates; allowed for peft: modules without")
    tensors, config = writers[kinds[0]](model, ports_of(model.encoder))
    linears = [model.encoder.get_submodule(name) for name in config["target_modules"]]
    config["fan_in_fan_out"] = not any(isinstance(linear, nn.Linear) for linear in linears)
    config["inference_mode"] = True
    tensors = {f"base_model.model.{n}": t.cpu().contiguous() for n, t in tensors.items()}
    encoder = model.source.folder if isinstance(model.source, TextEncoder) else None
    with replacing(folder, is_own, encoder) as draft:
        draft.mkdir()
        write_json(draft / CONFIG, config)
        save_file(tensors, draft / WEIGHTS)
        head = {name: p.detach().cpu() for name, p in model.head.named_parameters()}
        save_file(head, draft / HEAD)


def _lora(model: Classifier, ports: list[LayerPorts]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by their names below the encoder, and the config."""
    loras = [module for module in model.candidates() if isinstance(module, Lora)]
    tensors: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    scales: dict[str, float] = {}
    for module in loras:
        for name, (a, b) in _factors(module, ports[module.layer].sites).items():
            tensors |= {f"{name}.lora_A.weight": a, f"{name}.lora_B.weight": b}
            ranks[name], scales[name] = len(a), module.scale
    least = min(ranks, key=lambda name: ranks[name])
    rank, scale = ranks[least], scales[least]
    own = {n: found for n, found in ranks.items() if (found, scales[n]) != (rank, scale)}
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": scale * rank, "rank_pattern": own}
    config |= {"alpha_pattern": {name: scales[name] * found for name, found in own.items()}}
    config |= {"lora_dropout": 0.0, "bias": "none", "target_modules": sorted(ranks)}
    return tensors, config


def _ia3(model: Classifier, ports: list[LayerPorts]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The same; an output that is not scaled of a fused linear is times 1."""
    tensors: dict[str, Tensor] = {}
    inner = []
    for module in model.candidates():
        sites, kept = ports[module.layer].sites, module.kept()
        for site in SCALED:
            port = sites[site]
            name, size = f"{port.name}.ia3_l", port.parts * port.width.outputs
            scale = tensors.setdefault(name, torch.ones(size, 1, device=kept[site].device))
            scale[port.rows, 0] += kept[site]
        inner.append(sites[Site.DOWN].name)
        tensors[f"{inner[-1]}.ia3_l"] = 1 + kept["feed_forward"].unsqueeze(0)
    targets = sorted(name.removesuffix(".ia3_l") for name in tensors)
    return tensors, {"peft_type": "IA3", "target_modules": targets, "feedforward_modules": inner}


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
