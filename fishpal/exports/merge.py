"""Modules that change weights alone, merged into the encoder for good."""

import torch

from fishpal.encoders.ports import ports_of
from fishpal.models.classifier import Classifier
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
