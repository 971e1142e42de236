"""study.yaml → one checked object."""

from dataclasses import dataclass
from pathlib import Path

from studies.cells.settings import read_study
from studies.cells.sources import Rows, Source

ROOM = Path(__file__).parent


@dataclass(frozen=True)
class Settings:
    """All of study.yaml."""

    rows: Rows
    updates: int
    batch_size: int
    looks: int
    seeds: tuple[int, ...]
    factors: tuple[float, ...]
    mixes: int
    ranks: tuple[int, ...]
    tops: tuple[int, ...]
    tasks: dict[str, Source]


def load_settings() -> Settings:
    """Read study.yaml."""
    return read_study(Settings, ROOM)
