"""study.yaml → one checked object."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from fishpal.common.validate import decode
from fishpal.params.load import Params
from fishpal.params.yaml import parse_yaml
from studies.cells.settings import read_study

ROOM = Path(__file__).parent


@dataclass(frozen=True)
class Grid:
    """A params file, with some keys set otherwise, once a draw.

    Attributes:
        encoder: a folder, in place of the file's source.
        draws: `tokenize.split_seed`, which decides the rows of fit and selection.
        change: values by dotted keys of the file.
        pilot_of: the grid whose pilots it takes, which differs in `train.schedule` alone.
    """

    name: str
    params: str
    encoder: str
    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    draws: tuple[int, ...]
    seeds: tuple[int, ...]
    change: dict[str, Any] = field(default_factory=dict)
    pilot_of: str | None = None

    def units(self) -> list[tuple[str, int]]:
        """Every task at every draw, the first draw of all before the second one."""
        return [(task, draw) for draw in self.draws for task in self.tasks]


@dataclass(frozen=True)
class Compressed:
    """Kinds of a grid that are made smaller once they are trained.

    Attributes:
        shares: of their parameters, the first also that of modules trained at that size.
        margin: that the last variant stays within.
    """

    grid: str
    kinds: tuple[str, ...]
    shares: tuple[float, ...]
    margin: float


@dataclass(frozen=True)
class Settings:
    """All of study.yaml."""

    compressed: Compressed
    grids: tuple[Grid, ...]

    def grid(self, name: str) -> Grid:
        """The one of that name."""
        return next(grid for grid in self.grids if grid.name == name)


@cache
def load_settings() -> Settings:
    """Read study.yaml."""
    return read_study(Settings, ROOM)


@cache
def params_of(name: str) -> Params:
    """A grid's params file as changed."""
    grid = load_settings().grid(name)
    found: Any = parse_yaml(Path(grid.params).read_text("utf-8"), grid.params)
    for key, value in grid.change.items():
        *sections, last = key.split(".")
        part = found
        for section in sections:
            part = part[section]
        part[last] = value
    found["grid"] |= {"tasks": list(grid.tasks), "methods": list(grid.methods)}
    params: Params = decode(Params, found, f"{grid.params}, as studies/draws changes it")
    return params
