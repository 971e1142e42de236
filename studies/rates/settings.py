"""study.yaml → one checked object."""

from dataclasses import dataclass
from pathlib import Path

from fishpal.common.validate import decode
from fishpal.params.module_options import AdapterOptions, LoraOptions, ModuleOptions, PrefixOptions
from fishpal.params.yaml import parse_yaml

ROOM = Path(__file__).parent
PATH = ROOM / "study.yaml"


@dataclass(frozen=True)
class Rows:
    """How many of a task's rows are used."""

    fit: int
    selection: int
    evaluation: int


@dataclass(frozen=True)
class Source:
    """Where a task's rows are, and which columns count."""

    train: str
    test: str
    text: tuple[str, ...]
    label: str
    regression: bool


@dataclass(frozen=True)
class Case:
    """What a sweep is of; every kind is swept in it."""

    task: str
    encoder: str
    size: str
    updates: int


@dataclass(frozen=True)
class Fitted:
    """Cases, and the best rates there, that the line search's constants are set on."""

    cases: tuple[Case, ...]
    best: dict[str, float]


@dataclass(frozen=True)
class Settings:
    """All of study.yaml."""

    factors: tuple[float, ...]
    thesis: dict[str, float]
    seed: int
    rows: Rows
    batch_size: int
    looks: int
    sizes: dict[str, tuple[int, int, int]]
    encoders: dict[str, int]
    tasks: dict[str, Source]
    fitted: Fitted
    cases: tuple[Case, ...]

    def modules(self, size: str) -> ModuleOptions:
        """The candidates' options; LoRA's alpha stays twice its rank."""
        rank, bottleneck, length = self.sizes[size]
        lora = LoraOptions(rank=rank, alpha=2.0 * rank)
        return ModuleOptions(PrefixOptions(length), AdapterOptions(bottleneck), lora)


def load_settings() -> Settings:
    """Read study.yaml; `PlanError` naming key, value and what is allowed."""
    settings: Settings = decode(Settings, parse_yaml(PATH.read_text("utf-8"), str(PATH)), str(PATH))
    return settings
