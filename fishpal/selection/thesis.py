"""The plans that the thesis fixed by hand."""

from fishpal.common.errors import PlanError, one_of
from fishpal.common.kinds import ModuleKind

P, A, L = ModuleKind.PREFIX, ModuleKind.ADAPTER, ModuleKind.LORA
# The thesis's hard-coded plans, for encoders of 12 layers (design §8).
THESIS_PLANS: dict[str, tuple[ModuleKind, ...]] = {
    "sst2": (P,) * 5 + (A,) * 5 + (L,) * 2,
    "mrpc": (P, A, L, L) + (A,) * 6 + (L,) * 2,
    "mnli": (P, A, L, L) + (A,) * 6 + (L,) * 2,
}


def thesis_kinds(name: str, layers: int) -> tuple[ModuleKind, ...]:
    """The kinds of the plan of that name; `PlanError` where there is none for so many layers."""
    if name not in THESIS_PLANS:
        raise PlanError(one_of("method thesis: plan", name, THESIS_PLANS))
    kinds = THESIS_PLANS[name]
    if layers != len(kinds):
        allowed = f"its plans are for encoders of {len(kinds)}"
        found = f"the encoder has {layers} layers"
        raise PlanError(f"method thesis: {found}; allowed: {allowed}")
    return kinds
