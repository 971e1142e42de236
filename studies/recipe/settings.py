"""study.yaml → one checked object."""

from dataclasses import dataclass
from pathlib import Path

from studies.cells.settings import read_study
from studies.cells.sources import Rows, Source

ROOM = Path(__file__).parent


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
    """Read study.yaml."""
    return read_study(Settings, ROOM)
