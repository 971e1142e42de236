"""The methods of params.yaml: named rules for getting a plan, told apart by `rule`."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Discriminator

from fishpal.common.checks import Range, Rate, Seed, Size
from fishpal.common.kinds import CriterionName, ModuleKind
from fishpal.common.validate import Strict


@dataclass(frozen=True, kw_only=True)
class BaseMethod(Strict):
    """`learning_rate`, where set, replaces every kind's own rate in this method's plan: of the
    head alone (rule `none`), the head's."""

    learning_rate: Rate | None = None


@dataclass(frozen=True, kw_only=True)
class ByCriterion(BaseMethod):
    """The plan of the highest score; `criterion` null: `select.criterion`."""

    rule: Literal["criterion"] = "criterion"
    criterion: CriterionName | None = None


@dataclass(frozen=True, kw_only=True)
class Uniform(BaseMethod):
    """One kind at every layer; `size` null: the configured one."""

    rule: Literal["uniform"] = "uniform"
    kind: ModuleKind
    size: Size | None = None


@dataclass(frozen=True, kw_only=True)
class Race(BaseMethod):
    """The kind and rate that did best in the task's pilot, at every layer.

    `margin`, in units of the loss: what keeps the fewest parameters of all kinds and
    `train.race.smaller` of their sizes that is shown, one-sided at 95 % on the selection part, to
    lose less than that against it; else the best itself.
    """

    rule: Literal["race"] = "race"
    margin: Annotated[float, Range(lambda x: x >= 0, "0 or more, or null")] | None = None


@dataclass(frozen=True, kw_only=True)
class Random(BaseMethod):
    """Every layer's kind drawn by a seed of its own."""

    rule: Literal["random"] = "random"
    seed: Seed | None = None


@dataclass(frozen=True, kw_only=True)
class Thesis(BaseMethod):
    """A plan that the thesis fixed by hand; `plan` null: that of the task's own name."""

    rule: Literal["thesis"] = "thesis"
    plan: str | None = None


@dataclass(frozen=True, kw_only=True)
class Mam(BaseMethod):
    """Prefix and parallel adapter at every layer (He et al. 2022, §4.6)."""

    rule: Literal["mam"] = "mam"


@dataclass(frozen=True, kw_only=True)
class Unipelt(BaseMethod):
    """Prefix, adapter and LoRA at every layer, each with a gate (Mao et al. 2022)."""

    rule: Literal["unipelt"] = "unipelt"


@dataclass(frozen=True, kw_only=True)
class HeadOnly(BaseMethod):
    """No modules: the head alone is trained (`training.starts`)."""

    rule: Literal["none"] = "none"


@dataclass(frozen=True, kw_only=True)
class Full(BaseMethod):
    """The whole encoder is trained."""

    rule: Literal["full"] = "full"


Method = Annotated[
    ByCriterion | Race | Uniform | Random | Thesis | Mam | Unipelt | HeadOnly | Full,
    Discriminator("rule"),
]
