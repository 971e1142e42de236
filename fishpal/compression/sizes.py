"""How small modules become by a share of their parameters."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeGuard

from fishpal.modules import Adapter, CandidateModule, Lora
from fishpal.records.plan import Plan


def compressible(module: CandidateModule) -> TypeGuard[Adapter | Lora]:
    """Whether it is of a kind that can be made smaller, and has no size of its own."""
    return isinstance(module, Adapter | Lora) and module.size is None


def smaller_plan(plan: Plan, modules: Iterable[CandidateModule], share: float) -> Plan:
    """The plan with the largest sizes, from 1, by which the modules that can be made smaller keep
    at most a share of the parameters of their kind; `kept` is what all keep.

    Args:
        modules: the plan's, at its sizes.
    """
    options, kept = plan.modules, 0
    found = list(modules)
    for kind in dict.fromkeys(module.kind for module in found):
        own = [module for module in found if module.kind == kind]
        kept += sum(module.kept_parameters for module in own)
        cut = list(filter(compressible, own))
        if not cut:
            continue
        size, unit = _size(cut[0]), sum(map(_unit, cut))
        total = sum(module.kept_parameters for module in cut)
        fixed = total - size * unit  # biases and gates
        smaller = min(size, max(1, int((share * total - fixed) // unit)))
        options = options.resized(kind, smaller)
        kept -= (size - smaller) * unit
    return replace(plan.whole(), modules=options, kept=kept)


def _size(module: Adapter | Lora) -> int:
    if isinstance(module, Adapter):
        return len(module.down)
    return len(module.factors(module.sites[0])[0])


def _unit(module: Adapter | Lora) -> int:
    """Parameters that one of its size is."""
    if isinstance(module, Adapter):
        return 2 * len(module.up) + 1
    return sum(a.shape[1] + b.shape[0] for a, b in map(module.factors, module.sites))
