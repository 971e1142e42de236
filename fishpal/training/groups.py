"""What an optimizer trains, grouped by learning rate and by whether it decays."""

from torch import nn

from fishpal.models.classifier import Classifier
from fishpal.records.plan import Plan


def parameter_groups(model: Classifier, plan: Plan, weight_decay: float) -> list[dict[str, object]]:
    """What is trained, by kind and by whether it decays: matrices do, vectors (biases) do not.

    A group is the head's or not, which a collapse asks for (`TrainingRun.recover`).
    """
    owners: list[tuple[float, nn.Module, dict[str, float]]]
    owners = [(plan.rate(m.kind, m.layer), m, m.rate_ratios()) for m in model.candidates()]
    gates = [m.gate for m in model.candidates() if m.gate is not None]
    owners = [(plan.rate("gate"), gate, {}) for gate in gates] + owners
    owners += [(plan.rate("head"), model.head, {}), (plan.rate("full"), model.encoder, {})]
    groups: list[dict[str, object]] = []
    owned: set[nn.Parameter] = set()
    for usual, owner, ratios in owners:
        parts: dict[tuple[bool, float], list[nn.Parameter]] = {}
        for name, p in owner.named_parameters():
            if p.requires_grad and p not in owned:
                owned.add(p)
                parts.setdefault((p.dim() == 1, ratios.get(name, 1.0)), []).append(p)
        for (vectors, ratio), part in sorted(parts.items()):
            rate = usual * ratio
            decay = 0.0 if vectors else weight_decay
            head = owner is model.head
            groups.append({"params": part, "lr": rate, "weight_decay": decay, "head": head})
    return groups
