"""The options of the library's core, one dataclass a section of params.yaml.

Plain dataclasses that check their own ranges; `params.load` reads params.yaml into them.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from fishpal.common.checks import (
    MAX_RATE,
    POSITIVE,
    Auto,
    Count,
    Positive,
    Range,
    Rate,
    Seed,
    Share,
    at_least,
    auto_or,
    check,
)
from fishpal.common.kinds import CriterionName, Estimator, FisherMode, HeadInit, ModuleKind
from fishpal.common.validate import Strict
from fishpal.params.race_options import RaceOptions

Budget = Annotated[float, Range(lambda share: 0 < share <= 1, "above 0 up to 1, or null")]
MODULES = f"an integer from 1 to {len(ModuleKind)}"
Device = Literal["auto", "cpu", "cuda"]
Pairs = Literal["auto", "compare", "joint"]
AutoRate = Annotated[
    float | Auto, auto_or(Range(lambda rate: 0 < rate <= MAX_RATE, f"above 0 up to {MAX_RATE:g}"))
]
Updates = Annotated[int | Auto, auto_or(at_least(1))]
Looks = Annotated[float | Auto, auto_or(POSITIVE)]


@dataclass(frozen=True)
class HeadOptions(Strict):
    """The head that Fisher scores with and that training starts from.

    `pairs`: what it reads of two texts: `compare` adds how their means differ and agree
    (`fishpal.encoders.pooling.compare`) to what `joint` reads alone, the pooled output of both;
    `auto`: `compare` for a regression, `joint` for classes.
    """

    init: HeadInit = HeadInit.RANDOM
    seed: Seed = 0
    pairs: Pairs = "auto"

    def compares(self, *, pair: bool, regression: bool) -> bool:
        """Whether the head of such a task compares two texts."""
        usual = "compare" if regression else "joint"
        return pair and (usual if self.pairs == "auto" else self.pairs) == "compare"


@dataclass(frozen=True)
class FisherOptions(Strict):
    """How the Fisher table is measured; `gram` also keeps what the kernel criterion needs, `full`
    what the rate of full fine-tuning does.

    `dropout` leaves the encoder's own dropout on while measuring, as the thesis does. `precision`
    is that of the passes, sums are in float32 or better; `auto`: the lowest that the device
    computes natively, which the table then names.
    """

    kinds: tuple[ModuleKind, ...] = (ModuleKind.PREFIX, ModuleKind.ADAPTER, ModuleKind.LORA)
    examples: Annotated[int, at_least(2)] = 256
    estimator: Estimator = Estimator.EMPIRICAL
    mode: FisherMode = FisherMode.ISOLATED
    gram: bool = True
    full: bool = False
    dropout: bool = False
    batch_size: Count = 32
    seed: Seed = 0
    device: Device = "auto"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        named = ", ".join(map(str, self.kinds)) or "empty"
        allowed = "one kind or more, each once: " + ", ".join(ModuleKind)
        check(0 < len(set(self.kinds)) == len(self.kinds), "kinds", named, allowed)


@dataclass(frozen=True)
class LearningRates(Strict):
    """The peak learning rates of a plan, by kind."""

    prefix: Rate = 1e-2
    adapter: Rate = 5e-3
    lora: Rate = 5e-3
    bias: Rate = 1e-3  # Ben Zaken et al. 2022, §3: between 1e-4 and 1e-3
    ia3: Rate = 3e-3  # Liu et al. 2022, §3.5
    gate: Rate = 5e-4  # Mao et al. 2022: of all that UniPELT trains
    head: Rate = 1e-2
    full: Rate = 1e-4


@dataclass(frozen=True)
class RateOptions(Strict):
    """One peak learning rate a kind, the same in every plan (protocol, design §7.2).

    `auto`: from the Fisher table, the number of updates and the encoder's size
    (`fishpal.selection.rates`).
    """

    prefix: AutoRate = "auto"
    adapter: AutoRate = "auto"
    lora: AutoRate = "auto"
    bias: AutoRate = "auto"
    ia3: AutoRate = "auto"
    gate: Rate = LearningRates.gate
    head: AutoRate = LearningRates.head
    full: AutoRate = LearningRates.full

    def fixed(self) -> LearningRates:
        """The same as numbers; `ParamsError` where one is `auto`."""
        for name, rate in vars(self).items():
            check(rate != "auto", f"learning_rate.{name}", rate, "a number, here")
        return LearningRates(**vars(self))


@dataclass(frozen=True)
class TrainOptions(Strict):
    """Training by the protocol of design §7; one unit of `patience` is one evaluation.

    `updates` is the length of every method's training; `auto`: found once a task by a pilot
    (`fishpal.training.pilot`), at most `max_updates`. `epochs`, where set, is used instead.
    `pilot` runs it where the length is given, too, since rule `race` needs it.
    `evaluations_per_epoch` may be below 1: 0.25 evaluates every four epochs; `auto`: once an
    epoch, and at least five times in all. `schedule` averaged is a constant rate and the average
    of the weights (`fishpal.training.average`). `recover` lets a training that has collapsed
    (`fishpal.training.collapse`) go on from its best weights at a third of its modules' rates.
    `pick` says which look's weights are kept (`fishpal.training.pick`): by their loss on the
    selection part as it is, or after the best calibration, which the kept ones then get.
    `encoder_dropout` leaves the encoder's own dropout on while training (modules have theirs);
    off, training is a fifth faster, and no worse (docs/parameters.md).
    `reuse_frozen` keeps the outputs of layers below the lowest module, up to 2 GiB a part, where
    that is exact: for the selection part, and for fit where the encoder draws no dropout and rows
    repeat. `processes` share every batch.
    """

    learning_rate: RateOptions = field(default_factory=RateOptions)
    updates: Updates = "auto"
    max_updates: Count = 512
    epochs: Count | None = None
    pilot: bool = True
    race: RaceOptions = field(default_factory=RaceOptions)
    batch_size: Count = 32
    weight_decay: Annotated[float, Range(lambda decay: decay >= 0, "0 or more")] = 0.01
    warmup: Share = 0.06
    schedule: Literal["linear", "polynomial", "cosine", "constant", "averaged"] = "linear"
    max_grad_norm: Positive = 1.0
    evaluations_per_epoch: Looks = "auto"
    patience: Count | None = None
    pick: Literal["refined", "loss"] = "refined"
    recover: bool = True
    train_head: bool = True
    encoder_dropout: bool = False
    reuse_frozen: Literal["auto", "never"] = "auto"
    device: Device = "auto"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    deterministic: bool = True
    processes: Count = 1

    @property
    def has_pilot(self) -> bool:
        """Whether one runs: for the length, or, where that is given, for rule `race`."""
        return self.pilot or (self.epochs is None and self.updates == "auto")

    def __post_init__(self) -> None:
        super().__post_init__()
        both = self.epochs is not None and self.updates != "auto"
        check(not both, "epochs", self.epochs, f"null where updates is {self.updates}")
        allowed = f"one a row of a batch at most, batch_size {self.batch_size}"
        check(self.processes <= self.batch_size, "processes", self.processes, allowed)


@dataclass(frozen=True)
class SelectOptions(Strict):
    """How a plan is chosen.

    `budget` is the share of the encoder's parameters that may stay. A layer gets up to `per_layer`
    modules, no two of a kind. `top_layers` leaves all but
    the top so many layers empty: training then need not backpropagate below them. `fallback` is
    the uniform kind that rule `criterion` takes where the gradients are noise (the first of
    fisher.kinds where it is none of them); None: no such check.
    """

    criterion: CriterionName = CriterionName.SNR
    allow_none: bool = False
    budget: Budget | None = None
    top_layers: Count | None = None
    per_layer: Annotated[int, Range(lambda n: 0 < n <= len(ModuleKind), MODULES)] = 1
    fallback: ModuleKind | None = ModuleKind.LORA


@dataclass(frozen=True)
class EvaluateOptions(Strict):
    """`precision` is that of training where the device computes it natively, or float32."""

    batch_size: Count = 64
    device: Device = "auto"
    precision: Literal["trained", "float32"] = "trained"
    processes: Count = 1
