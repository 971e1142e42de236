"""Modules that change weights alone, merged into the encoder for good."""

import torch
from torch import nn

from fishpal.encoders.ports import ports_of
from fishpal.models.classifier import Classifier
from fishpal.models.precision import casting
from fishpal.modules import CandidateModule
from fishpal.modules.attach import mark_changed


@torch.no_grad()
def merge_lora(model: Classifier) -> None:
    """Change the encoder's own weights by every LoRA, (IA)³ and change of biases, and detach these.

    The encoder is changed for good, and serves this model alone from here on; other kinds stay
    attached. Encoders that share its weights keep theirs. Logits agree to rounding. `save` writes
    no merged model.
    """
    ports, modules = ports_of(model.encoder), model.detach()
    for layer in {module.layer for module in modules}:
        _take_copies(ports[layer].layer)
    rest: list[CandidateModule] = []
    with casting(model.head.weight.device.type, torch.float32):  # whatever a caller casts to
        for module in modules:  # in the order of their work: what acts on one that stays stays
            follows = any(each.layer == module.layer for each in rest)
            if follows or not module.merge(ports[module.layer]):
                rest.append(module)
    if rest:
        model.attach(rest)
    mark_changed(model.encoder, "merged with a LoRA's", model)


def _take_copies(layer: nn.Module) -> None:
    """Give a layer weights of its own: twins (`TextEncoder.twin`) share them."""
    for part in layer.modules():
        for name, shared in list(part.named_parameters(recurse=False)):
            setattr(part, name, nn.Parameter(shared.clone(), shared.requires_grad))
