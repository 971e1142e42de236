"""The methods of params.yaml: named rules for getting a plan, told apart by `rule`."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Discriminator

from fishpal.common.checks import Fraction, Positive, Rate, Seed, Size, check
from fishpal.common.kinds import CriterionName, ModuleKind
from fishpal.common.validate import Strict


@dataclass(frozen=True, kw_only=True)
class BaseMethod(Strict):
    """`learning_rate`, where set, replaces every kind's own rate in this method's plan: of the
    head alone (rule `none`), the head's."""

    learning_rate: Rate | None = None


@dataclass(frozen=True, kw_only=True)
class ModuleMethod(BaseMethod):
    """Its adapters and LoRAs are made smaller once they are trained (`fishpal.training.compress`).

    `compress`: to this share of their parameters. `margin`: to a half, a quarter and so on while
    the loss is shown, one-sided at 95 % on the selection part, to rise by less than that.
    """

    compress: Fraction | None = None
    margin: Positive | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        one = self.compress is None or self.margin is None
        check(one, "margin", self.margin, "null where compress is set")


@dataclass(frozen=True, kw_only=True)
class ByCriterion(ModuleMethod):
    """The plan of the highest score; `criterion` null: `select.criterion`."""

    rule: Literal["criterion"] = "criterion"
    criterion: CriterionName | None = None


@dataclass(frozen=True, kw_only=True)
class Uniform(ModuleMethod):
    """One kind at every layer; `size` null: the configured one."""

    rule: Literal["uniform"] = "uniform"
    kind: ModuleKind
    size: Size | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        can = self.kind in (ModuleKind.ADAPTER, ModuleKind.LORA)
        for key in ("compress", "margin"):
            asked = getattr(self, key)
            check(can or asked is None, key, asked, f"null: {self.kind} cannot be made smaller")


@dataclass(frozen=True, kw_only=True)
class Race(ModuleMethod):
    """The kind and rate that did best in the task's pilot, at every layer."""

    rule: Literal["race"] = "race"


@dataclass(frozen=True, kw_only=True)
class Random(ModuleMethod):
    """Every layer's kind drawn by a seed of its own."""

    rule: Literal["random"] = "random"
    seed: Seed | None = None


@dataclass(frozen=True, kw_only=True)
class Thesis(ModuleMethod):
    """A plan that the thesis fixed by hand; `plan` null: that of the task's own name."""

    rule: Literal["thesis"] = "thesis"
    plan: str | None = None


@dataclass(frozen=True, kw_only=True)
class Mam(ModuleMethod):
    """Prefix and parallel adapter at every layer (He et al. 2022, §4.6)."""

    rule: Literal["mam"] = "mam"


@dataclass(frozen=True, kw_only=True)
class Unipelt(ModuleMethod):
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
