"""A model with a plan's fresh modules: what training starts from."""

from torch import nn

from fishpal.common.errors import AttachError
from fishpal.encoders.encoder import Encoder
from fishpal.models.classifier import Classifier
from fishpal.models.prefix_text import start_prefixes
from fishpal.modules.attach import build_modules, mark_changed
from fishpal.records.plan import Plan
from fishpal.records.task import TokenisedTask


def plan_model(
    encoder: Encoder,
    head: nn.Linear,
    plan: Plan,
    seed: int,
    train_head: bool = True,
    task: TokenisedTask | None = None,
) -> Classifier:
    """Encoder, head and the plan's fresh modules, with just what is to be trained unfrozen.

    Args:
        task: needed where prefixes start from text, which is that of its fit part.

    Raises:
        AttachError: where the plan was made for an encoder of another type, depth or width, the
            encoder is in use, there is nothing to train, or as `start_prefixes`.
        DataError: as `start_prefixes`.
    """
    facts = encoder.facts
    for key in ("type", "layers", "hidden"):
        planned, found = getattr(plan.encoder, key), getattr(facts, key)
        if planned != found:
            raise AttachError(f"plan is for an encoder with {key} {planned}; this one has {found}")
    model = Classifier(encoder, head)
    modules = build_modules(plan.layers, encoder.shapes, plan.modules, seed)
    start_prefixes(modules, encoder, task, seed)
    if not (modules or plan.full or train_head):
        raise AttachError("the plan has no modules and train.train_head is false: nothing to train")
    model.encoder.requires_grad_(plan.full)
    model.head.requires_grad_(train_head)
    if modules:
        model.attach(modules)
    if plan.full:
        mark_changed(encoder.model, "fine-tuned", model)
    return model
