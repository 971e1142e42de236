"""The options of the library's core, one dataclass a section of params.yaml.

Plain dataclasses that check their own ranges; `params.load` reads params.yaml into them.
"""

from dataclasses import dataclass, field
from typing import Literal

from fishpal.common.checks import (
    check,
    check_choice,
    check_positive,
    check_rate,
    check_share,
    check_size,
)
from fishpal.common.kinds import CriterionName, Estimator, FisherMode, HeadInit, ModuleKind
from fishpal.common.validate import Strict

MAX_RESAMPLES = 1_000_000  # a percentile's own error falls as 1 / √resamples: below 0.001
Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class LoraOptions(Strict):
    """LoRA: rank r, scale alpha / r, dropout on the module's input."""

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_size(rank=self.rank)
        check_positive(alpha=self.alpha)
        check_share(dropout=self.dropout)


@dataclass(frozen=True)
class AdapterOptions(Strict):
    """Bottleneck adapter: width b, after the feed-forward block or in parallel to it."""

    bottleneck: int = 48
    placement: Literal["sequential", "parallel"] = "sequential"
    activation: Literal["relu", "gelu", "tanh"] = "relu"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_size(bottleneck=self.bottleneck)
        check_share(dropout=self.dropout)
        check_choice("placement", self.placement, ("sequential", "parallel"))
        check_choice("activation", self.activation, ("relu", "gelu", "tanh"))


@dataclass(frozen=True)
class PrefixOptions(Strict):
    """Prefix: p positions; optionally reparameterised through an MLP d → mid → 2d.

    `std` is the standard deviation of the start of keys and values (without an MLP) or of the
    MLP's input (with one).
    """

    length: int = 10
    reparameterize: bool = False
    mid: int = 512
    std: float = 0.02

    def __post_init__(self) -> None:
        check_size(length=self.length, mid=self.mid)
        check_positive(std=self.std)


@dataclass(frozen=True)
class ModuleOptions(Strict):
    """The sizes of every kind."""

    prefix: PrefixOptions = field(default_factory=PrefixOptions)
    adapter: AdapterOptions = field(default_factory=AdapterOptions)
    lora: LoraOptions = field(default_factory=LoraOptions)


@dataclass(frozen=True)
class HeadOptions(Strict):
    """The head that Fisher scores with and that training starts from."""

    init: HeadInit = HeadInit.RANDOM
    seed: int = 0

    def __post_init__(self) -> None:
        check(self.seed >= 0, "seed", self.seed, "an integer from 0")


@dataclass(frozen=True)
class FisherOptions(Strict):
    """How the Fisher table is measured; `gram` also keeps what the kernel criterion needs.

    `dropout` leaves the encoder's own dropout on while measuring, as the thesis does.
    """

    kinds: tuple[ModuleKind, ...] = (ModuleKind.PREFIX, ModuleKind.ADAPTER, ModuleKind.LORA)
    examples: int = 256
    estimator: Estimator = Estimator.EMPIRICAL
    mode: FisherMode = FisherMode.ISOLATED
    gram: bool = True
    dropout: bool = False
    batch_size: int = 32
    seed: int = 0
    device: Device = "auto"
    precision: Literal["float32", "bfloat16", "float16"] = "float32"

    def __post_init__(self) -> None:
        named = ", ".join(map(str, self.kinds)) or "empty"
        allowed = "one kind or more, each once: " + ", ".join(ModuleKind)
        check(0 < len(set(self.kinds)) == len(self.kinds), "kinds", named, allowed)
        check(self.examples >= 2, "examples", self.examples, "an integer from 2")
        check_positive(batch_size=self.batch_size)
        check(self.seed >= 0, "seed", self.seed, "an integer from 0")
        check_choice("precision", self.precision, ("float32", "bfloat16", "float16"))


@dataclass(frozen=True)
class LearningRates(Strict):
    """One peak learning rate a kind, the same in every plan (protocol, design §7.2)."""

    prefix: float = 1e-2
    adapter: float = 5e-3
    lora: float = 5e-3
    head: float = 1e-2
    full: float = 5e-5

    def __post_init__(self) -> None:
        for name, rate in vars(self).items():
            check_rate(name, rate)


@dataclass(frozen=True)
class TrainOptions(Strict):
    """Training by the protocol of design §7; one unit of `patience` is one evaluation.

    `evaluations_per_epoch` may be below 1: 0.25 evaluates every four epochs.
    """

    learning_rate: LearningRates = field(default_factory=LearningRates)
    epochs: int = 4
    batch_size: int = 32
    weight_decay: float = 0.01
    warmup: float = 0.06
    schedule: Literal["linear", "polynomial", "cosine", "constant"] = "linear"
    max_grad_norm: float = 1.0
    evaluations_per_epoch: float = 1
    patience: int | None = None
    train_head: bool = True
    device: Device = "auto"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    deterministic: bool = True

    def __post_init__(self) -> None:
        check_positive(
            epochs=self.epochs,
            batch_size=self.batch_size,
            evaluations_per_epoch=self.evaluations_per_epoch,
            max_grad_norm=self.max_grad_norm,
        )
        check(self.weight_decay >= 0, "weight_decay", self.weight_decay, "0 or more")
        check_share(warmup=self.warmup)
        check_choice("schedule", self.schedule, ("linear", "polynomial", "cosine", "constant"))
        check_positive(patience=self.patience)


@dataclass(frozen=True)
class SelectOptions(Strict):
    """How a plan is chosen.

    `budget` is the share of the encoder's parameters that may stay. `top_layers` leaves all but
    the top so many layers empty: training then need not backpropagate below them.
    """

    criterion: CriterionName = CriterionName.SNR
    allow_none: bool = False
    budget: float | None = None
    top_layers: int | None = None

    def __post_init__(self) -> None:
        check_choice("criterion", self.criterion, tuple(CriterionName))
        if self.budget is not None:
            check(0 < self.budget <= 1, "budget", self.budget, "above 0 up to 1, or null")
        check_positive(top_layers=self.top_layers)


@dataclass(frozen=True)
class EvaluateOptions(Strict):
    batch_size: int = 64
    device: Device = "auto"

    def __post_init__(self) -> None:
        check_positive(batch_size=self.batch_size)


@dataclass(frozen=True)
class ReportOptions(Strict):
    """`resamples` and `confidence` of the bootstrap intervals."""

    resamples: int = 2000
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        allowed = f"an integer from 1 to {MAX_RESAMPLES}"
        check(0 < self.resamples <= MAX_RESAMPLES, "resamples", self.resamples, allowed)
        check(0 < self.confidence < 1, "confidence", self.confidence, "between 0 and 1")
        check(self.seed >= 0, "seed", self.seed, "an integer from 0")
