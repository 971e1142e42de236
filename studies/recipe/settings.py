"""study.yaml → one checked object."""

from dataclasses import dataclass
from pathlib import Path

from fishpal.common.validate import decode
from fishpal.params.yaml import parse_yaml
from studies.cells.sources import Rows, Source

ROOM = Path(__file__).parent
PATH = ROOM / "study.yaml"


@dataclass(frozen=True)
class Cell:
    """What is trained; every kind of `Settings.rates` is."""

    task: str
    updates: int
    dropout: bool
    constant: bool
    seed: int


@dataclass(frozen=True)
class Settings:
    """All of study.yaml."""

    rows: Rows
    looks: int
    rates: dict[str, float]
    tasks: dict[str, Source]
    cells: tuple[Cell, ...]


def load_settings() -> Settings:
    """Read study.yaml; `PlanError` naming key, value and what is allowed."""
    settings: Settings = decode(Settings, parse_yaml(PATH.read_text("utf-8"), str(PATH)), str(PATH))
    return settings
