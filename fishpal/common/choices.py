"""What a layer gets, as a word: `lora`, `lora-8` of that size, `prefix+adapter-48`; None: nothing.

Words are what statistics are keyed by and what files, reports and notebooks say; `ModuleKind` is a
word itself. A module without a size has the one that its kind is configured with.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from fishpal.common.checks import Size
from fishpal.common.errors import PlanError, brief, one_of
from fishpal.common.kinds import ModuleKind
from fishpal.common.validate import Strict

Choice = str | None
Choices = tuple[Choice, ...]
"""One a layer, the lowest first."""
DIGITS = re.compile(r"[0-9]{1,5}")  # `Size` has five at most
WITHOUT_SIZE = (ModuleKind.BIAS, ModuleKind.IA3)


@dataclass(frozen=True)
class Module(Strict):
    """A kind with its size: a prefix's length, an adapter's bottleneck, a LoRA's rank."""

    kind: ModuleKind
    size: Size | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size is not None and self.kind in WITHOUT_SIZE:
            raise PlanError(f"size is {self.size}; allowed: null, since {self.kind} has no sizes")

    @classmethod
    def parse(cls, word: str) -> Self:
        """Of one module's word; `PlanError` where it is none."""
        kind, dash, size = word.partition("-")
        if kind not in list(ModuleKind):
            raise PlanError(one_of("kind", kind, ModuleKind))
        if dash and not DIGITS.fullmatch(size):
            raise PlanError(f"size is '{brief(size)}'; allowed: up to five digits")
        return cls(ModuleKind(kind), int(size) if dash else None)

    def __str__(self) -> str:
        return self.kind.value if self.size is None else f"{self.kind}-{self.size}"


@lru_cache
def modules_of(choice: Choice) -> tuple[Module, ...]:
    """The modules that a word names; `PlanError` where it is malformed, or names two of a kind."""
    modules = () if choice is None else tuple(map(Module.parse, choice.split("+")))
    if len({module.kind for module in modules}) < len(modules):
        raise PlanError(f"{choice} has two modules of a kind; allowed: each kind once a layer")
    return modules


def choice_of(modules: Iterable[Module]) -> Choice:
    """The word of several modules, in the order of `ModuleKind`."""
    order = list(ModuleKind)
    found = sorted(modules, key=lambda module: order.index(module.kind))
    return "+".join(map(str, found)) or None


def names_of(choices: Iterable[Choice]) -> list[tuple[int, str]]:
    """The candidates of a plan: (layer, word of one module)."""
    return [(layer, str(m)) for layer, choice in enumerate(choices) for m in modules_of(choice)]
