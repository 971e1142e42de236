"""A model with a plan's fresh modules: what training starts from."""

from __future__ import annotations

from torch import nn

from fishpal.common.errors import AttachError
from fishpal.encoders.encoder import facts_of
from fishpal.encoders.pooling import Pooling
from fishpal.models.classifier import Classifier
from fishpal.modules.attach import build_modules
from fishpal.records.plan import Plan


def plan_model(
    encoder: nn.Module, head: nn.Linear, plan: Plan, pooling: Pooling, seed: int, train_head: bool
) -> Classifier:
    """Encoder, head and the plan's fresh modules, with just what is to be trained unfrozen.

    Raises:
        AttachError: where the plan was made for an encoder of another type, depth or width.
    """
    facts = facts_of(encoder)
    for key in ("type", "layers", "hidden"):
        planned, found = getattr(plan.encoder, key), getattr(facts, key)
        if planned != found:
            raise AttachError(f"plan is for an encoder with {key} {planned}; this one has {found}")
    model = Classifier(encoder, head, pooling)
    model.encoder.requires_grad_(plan.full)
    model.head.requires_grad_(train_head)
    modules = build_modules(plan.layers, facts.hidden, plan.modules, seed)
    if modules:
        model.attach(modules)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise AttachError("the plan has no modules and train.train_head is false: nothing to train")
    return model
