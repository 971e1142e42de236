"""study.yaml → one checked object."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fishpal.common.checks import check, check_positive
from fishpal.common.kinds import ModuleKind
from fishpal.common.validate import decode
from fishpal.params.yaml import parse_yaml


@dataclass(frozen=True)
class Mixes:
    """How many random plans, drawn by `seed`.

    Attributes:
        uniform: every layer's kind drawn on its own.
        stratified: first how many layers each kind gets, all splits alike, then where.
    """

    uniform: int
    stratified: int
    seed: int


@dataclass(frozen=True)
class Study:
    """The plans' training: sizes are numbers of training examples K."""

    protocol: int
    sizes: tuple[int, ...]
    seeds: tuple[int, ...]
    updates: int
    evaluations: int
    mixes: Mixes
    leads: dict[str, tuple[ModuleKind, ...]]

    def __post_init__(self) -> None:
        check_positive(updates=self.updates, evaluations=self.evaluations)
        check(len(self.seeds) >= 1, "seeds", list(self.seeds), "one seed or more")
        check(len(self.sizes) >= 1, "sizes", list(self.sizes), "one size or more")


@dataclass(frozen=True)
class Sweep:
    """What the sweep of learning rates and lengths tries."""

    tasks: tuple[str, ...]
    size: int
    seeds: tuple[int, ...]
    rates: dict[str, tuple[float, ...]]
    updates: tuple[int, ...]


@dataclass(frozen=True)
class Halving:
    """Successive halving among the uniform plans: updates of each rung."""

    rungs: tuple[int, ...]


@dataclass(frozen=True)
class Probe:
    """Probe training: each candidate alone for so many updates."""

    updates: int
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Way:
    """One way to train weights that all plans share.

    Attributes:
        one_shot: a random plan in each update, instead of all candidates together.
    """

    one_shot: bool
    updates: int


@dataclass(frozen=True)
class Shared:
    """Scores from shared weights."""

    ways: tuple[Way, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Budget:
    """Plans that keep a share of the parameters of kind `full` at every layer."""

    full: ModuleKind
    shares: tuple[float, ...]
    draws: int


@dataclass(frozen=True)
class Chosen:
    """One way of choosing: the share of the full plan's parameters, the layers allowed.

    Null: no limit.
    """

    share: float | None
    top_layers: int | None

    @property
    def columns(self) -> dict[str, Any]:
        """What tells its lines apart."""
        limits = {"share": self.share, "top_layers": self.top_layers}
        return {"rule": "criterion"} | {k: v for k, v in limits.items() if v is not None}


@dataclass(frozen=True)
class Settings:
    """All of study.yaml."""

    study: Study
    halving: Halving
    probe: Probe
    shared: Shared
    budget: Budget
    chosen: tuple[Chosen, ...]
    sweep: Sweep

    def probe_size(self, size: int, batch: int) -> int:
        """Examples of probe training: one pass if it can be, so that larger sizes share cells."""
        return min(size, self.probe.updates * batch)


def load_settings(path: str | Path = "study.yaml") -> Settings:
    """Read study.yaml.

    Raises:
        PlanError: naming file, key, value and what is allowed.
    """
    settings: Settings = decode(Settings, read_yaml(path), str(path))
    return settings


def read_yaml(path: str | Path) -> Any:
    """A YAML file of the study's own."""
    return parse_yaml(Path(path).read_text(encoding="utf-8"), str(path))
