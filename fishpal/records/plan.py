"""The plan: which module each layer gets, with everything that training needs of it."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator

from fishpal.common.checks import Fraction, Positive, Rate, at_least
from fishpal.common.choices import Choice, Module, choice_of, modules_of
from fishpal.common.errors import FishpalError, PlanError, brief
from fishpal.common.kinds import ModuleKind
from fishpal.common.validate import Strict, decode
from fishpal.params.module_options import ModuleOptions
from fishpal.params.options import LearningRates
from fishpal.records.facts import EncoderFacts
from fishpal.records.record import JsonRecord, without_default

FIRST, VERSION = 1, 2


def _in_words(found: Any) -> Any:
    """A layer of a file of version 2, a list of modules, as a word."""
    if not isinstance(found, list):
        return found
    return choice_of(decode(tuple[Module, ...], found, "modules"))


@dataclass(frozen=True)
class LayerScore(Strict):
    """Why a layer got what it got: each candidate's score there, and the choice."""

    layer: int
    chosen: Choice
    scores: dict[str, float]


@dataclass(frozen=True)
class RateReason(Strict):
    """Why a kind trains at its rate: usual · by_step · by_length (`selection.rates`).

    Attributes:
        step: η*, the best single sign step of the kind at every layer.
        signal: z of its gradients (`selection.reliability`); noise is about 0.
        usual: the rate that is usual for the kind in an encoder of this size.
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
    """What each layer gets: none, one or several modules, no two of a kind (these collide).

    All kinds compose, in one fixed order (`modules.attach`), so nothing else collides.

    Sizes and learning rates of kinds that the plan does not use are left out of its file, so
    that changing them leaves the file, and all that is trained from it, as it is. A file is of
    the first version that can say the plan: 1 has a kind or null a layer, 2 a list of modules.

    Attributes:
        layers: a word each (`common.choices`), the lowest first.
        kept: parameters that stay at inference, head not counted.
        full: train the whole encoder instead of modules (the baseline `full`).
        updates: of its training, the same for every method of a task; None: as options say.
        rates: of modules with a size of their own, by their words; `learning_rate` has the others'.
        compress, margin: how small its modules are made after training, which goes by all else
            here (`fishpal.training.compress`); None and None: they stay.
    """

    version: int = field(default=FIRST, kw_only=True)  # first in the file; set by `layers`
    task: str
    method: str
    encoder: EncoderFacts
    layers: tuple[Annotated[Choice, BeforeValidator(_in_words)], ...]
    reason: Reason
    kept: int = 0
    full: bool = False
    modules: ModuleOptions = field(default_factory=ModuleOptions)
    learning_rate: LearningRates = field(default_factory=LearningRates)
    updates: Annotated[int, at_least(1)] | None = None
    rates: dict[str, Rate] = field(default_factory=dict)
    compress: Fraction | None = None
    margin: Positive | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.version not in (FIRST, VERSION):
            raise PlanError(f"version is {self.version}; allowed: {FIRST}, {VERSION}")
        if len(self.layers) != self.encoder.layers:
            allowed = f"one for each of the encoder's {self.encoder.layers} layers"
            raise PlanError(f"layers has {len(self.layers)} entries; allowed: {allowed}")
        if self.full and any(self.layers):
            raise PlanError("full is true with modules at layers; allowed: one or the other")
        layers = []
        for number, word in enumerate(self.layers):
            try:
                layers.append(choice_of(modules_of(word)))
            except FishpalError as error:
                raise PlanError(f"layers.{number}: {error}") from None
        object.__setattr__(self, "layers", tuple(layers))
        plain = all(word is None or word in list(ModuleKind) for word in layers)
        object.__setattr__(self, "version", FIRST if plain else VERSION)

    @property
    def compresses(self) -> bool:
        """Whether its modules are made smaller after training."""
        return self.compress is not None or self.margin is not None

    def whole(self) -> Self:
        """What is trained: the plan without what is done to its modules afterwards."""
        return replace(self, compress=None, margin=None)

    def named_as(self, other: Self) -> Self:
        """The same as another method's."""
        return replace(self, method=other.method, reason=other.reason)

    @property
    def kinds(self) -> tuple[ModuleKind, ...]:
        """The kinds that the plan uses, in the order of `ModuleKind`."""
        used = {module.kind for word in self.layers for module in modules_of(word)}
        return tuple(kind for kind in ModuleKind if kind in used)

    @property
    def bare(self) -> bool:
        """Whether nothing but a head is trained."""
        return not (self.kinds or self.full)

    def rate(self, kind: str, layer: int | None = None) -> float:
        """The peak rate of a kind's module at a layer, or of `head` or `full`."""
        usual: float = getattr(self.learning_rate, kind)
        found = () if layer is None else modules_of(self.layers[layer])
        return next((self.rates.get(str(m), usual) for m in found if m.kind == kind), usual)

    def to_json(self) -> dict[str, Any]:
        """Readable JSON; decoding it gives an equal plan but for what it does not use."""
        data = super().to_json()
        modules = [modules_of(word) for word in self.layers]
        usual = {m.kind for layer in modules for m in layer if str(m) not in self.rates}
        rates = {*usual, "head"} | ({"full"} if self.full else set())
        rates |= {"gate"} if self.modules.gates else set()
        options = self.modules.to_json().items()
        data["modules"] = {k: v for k, v in options if k in (*self.kinds, "gates")}
        data["learning_rate"] = {k: v for k, v in data["learning_rate"].items() if k in rates}
        if self.version == FIRST:
            del data["rates"]
        else:
            data["layers"] = [[asdict(module) for module in layer] for layer in modules]
            used = {str(module) for layer in modules for module in layer}
            data["rates"] = {word: rate for word, rate in self.rates.items() if word in used}
        for key in ("compress", "margin"):  # came later: files without keep their bytes
            data = without_default(data, key, None)
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
