"""study.yaml → one checked object."""

from dataclasses import dataclass
from pathlib import Path

from fishpal.common.validate import decode
from fishpal.params.yaml import parse_yaml
from studies.cells.sources import Rows, Source

ROOM = Path(__file__).parent
PATH = ROOM / "study.yaml"


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
    """Read study.yaml; `PlanError` naming key, value and what is allowed."""
    settings: Settings = decode(Settings, parse_yaml(PATH.read_text("utf-8"), str(PATH)), str(PATH))
    return settings
