"""The plan: which module each layer gets, with everything that training needs of it."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Self

from fishpal.common.checks import Positive, at_least
from fishpal.common.errors import PlanError, brief
from fishpal.common.kinds import ModuleKind
from fishpal.common.validate import Strict
from fishpal.params.options import LearningRates, ModuleOptions
from fishpal.records.facts import EncoderFacts
from fishpal.records.record import JsonRecord

VERSION = 1


@dataclass(frozen=True)
class LayerScore(Strict):
    """Why a layer got what it got: each kind's score there, and the choice."""

    layer: int
    chosen: ModuleKind | None
    scores: dict[str, float]


@dataclass(frozen=True)
class RateReason(Strict):
    """Why a kind trains at its rate: usual · by_step · by_length (`selection.rates`).

    Attributes:
        step: η*, the best single sign step of the kind at every layer.
        signal: z of its gradients (`selection.reliability`); noise is about 0.
    """

    rate: Positive
    step: float
    signal: float
    usual: Positive
    by_step: Positive
    by_length: Positive


@dataclass(frozen=True)
class Reason(Strict):
    """The rule and, where it measured something, what it saw.

    Attributes:
        rule: the method's rule (`criterion`, `uniform`, …) in params.yaml's words.
        criterion: its criterion, where the rule has one.
        total: the plan's score under it (higher is better).
        budget: parameters that the plan was allowed to keep; null: no limit.
        scores: every layer's candidates.
        rates: of each kind that got its rate from the Fisher table.
        reliability: z of the gradients that chose (`selection.reliability`); noise is about 0.
        note: what the rule did otherwise than asked, in words.
    """

    rule: str
    criterion: str | None = None
    total: float | None = None
    budget: int | None = None
    scores: tuple[LayerScore, ...] = ()
    rates: dict[str, RateReason] = field(default_factory=dict)
    reliability: float | None = None
    note: str | None = None


@dataclass(frozen=True)
class Plan(JsonRecord):
    """One kind, or none, a layer.

    Sizes and learning rates of kinds that the plan does not use are left out of its file, so
    that changing them leaves the file, and all that is trained from it, as it is.

    Attributes:
        kept: parameters that stay at inference, head not counted.
        full: train the whole encoder instead of modules (the baseline `full`).
        updates: of its training, the same for every method of a task; None: as options say.
    """

    version: int = field(default=VERSION, kw_only=True)  # first in the file
    task: str
    method: str
    encoder: EncoderFacts
    layers: tuple[ModuleKind | None, ...]
    reason: Reason
    kept: int = 0
    full: bool = False
    modules: ModuleOptions = field(default_factory=ModuleOptions)
    learning_rate: LearningRates = field(default_factory=LearningRates)
    updates: Annotated[int, at_least(1)] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.version != VERSION:
            raise PlanError(f"version is {self.version}; allowed: {VERSION}")
        if len(self.layers) != self.encoder.layers:
            allowed = f"one for each of the encoder's {self.encoder.layers} layers"
            raise PlanError(f"layers has {len(self.layers)} entries; allowed: {allowed}")
        if self.full and any(self.layers):
            raise PlanError("full is true with modules at layers; allowed: one or the other")

    def shrunk(self, share: float) -> Self:
        """The plan with every kind at a share of its size (`ModuleOptions.shrunk`)."""
        modules = self.modules
        for kind in self.kinds:
            modules = modules.shrunk(kind, share)
        return replace(self, modules=modules)

    @property
    def kinds(self) -> tuple[ModuleKind, ...]:
        """The kinds that the plan uses, in the order of `ModuleKind`."""
        return tuple(kind for kind in ModuleKind if kind in self.layers)

    def to_json(self) -> dict[str, Any]:
        """Readable JSON; decoding it gives an equal plan but for what it does not use."""
        data = super().to_json()
        rates = {*self.kinds, "head"} | ({"full"} if self.full else set())
        data["modules"] = {k: v for k, v in self.modules.to_json().items() if k in self.kinds}
        data["learning_rate"] = {k: v for k, v in data["learning_rate"].items() if k in rates}
        return data

    def trained_by(self) -> dict[str, Any]:
        """The part of the plan that decides what its training gives."""
        return {k: v for k, v in self.to_json().items() if k not in ("method", "reason")}

    @classmethod
    def read(cls, path: str | Path, task: str, method: str) -> Self:
        """`load`; raises `PlanError` unless it is the plan of this task and method."""
        plan = cls.load(path)
        for key, wanted in (("task", task), ("method", method)):
            found = getattr(plan, key)
            if wanted != found:
                raise PlanError(f"{path}: {key} is '{brief(found)}'; allowed: {wanted}")
        return plan
