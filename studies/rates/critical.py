"""The rival: a line search along the first sign step, of ten forward passes."""

import math

import torch

from fishpal.api.encoder import TextEncoder
from fishpal.api.steps import start
from fishpal.api.task import Task
from fishpal.models.batching import collate
from fishpal.models.classifier import task_loss
from fishpal.records.plan import Plan

EXAMPLES = 64
FIRST, LAST = 1e-5, 10.0  # between them, in steps that halve on a log scale


def critical_rate(encoder: TextEncoder, task: Task, plan: Plan, passes: int = 10) -> float:
    """The largest rate whose first sign step does not raise the loss, of so many forward passes.

    The critical learning rate of Lewkowycz et al. (2020), of a sign step, found by bisection on a
    log scale: one pass for the start's loss, the others between `FIRST` and `LAST`.
    """
    tokens = task.tokenised(encoder)
    module = start(encoder, task, plan).module.eval()
    batch = collate(list(tokens.fit)[:EXAMPLES], tokens.facts.pad_id)
    labels = batch.pop("labels")
    owned = [p for m in module.candidates() for p in m.parameters() if p.requires_grad]
    loss = task_loss(module(**batch), labels)
    signs = [g.sign() for g in torch.autograd.grad(loss, owned)]
    before, starts = loss.item(), [p.detach().clone() for p in owned]
    low, high = math.log(FIRST), math.log(LAST)
    with torch.no_grad():
        for _ in range(passes - 1):
            middle = (low + high) / 2
            for p, at, sign in zip(owned, starts, signs, strict=True):
                p.copy_(at - math.exp(middle) * sign)
            after = task_loss(module(**batch), labels).item()
            low, high = (middle, high) if after <= before else (low, middle)
    return math.exp((low + high) / 2)
