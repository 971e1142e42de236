"""study.yaml → one checked object."""

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from fishpal.common.kinds import HeadInit, ModuleKind
from fishpal.params.module_options import AdapterOptions, LoraOptions, ModuleOptions, PrefixOptions
from fishpal.selection.rates import FULL
from studies.cells.settings import read_study
from studies.cells.sources import Rows, Source

ROOM = Path(__file__).parent
KINDS = (ModuleKind.PREFIX, ModuleKind.ADAPTER, ModuleKind.LORA)
VECTORS = (ModuleKind.BIAS, ModuleKind.IA3)


@dataclass(frozen=True)
class Layers:
    """The lowest layers of an encoder."""

    folder: str
    layers: int
    hidden: int


@dataclass(frozen=True)
class Case:
    """What a sweep is of: by default of every kind that has a size.

    Instead, `parallel` sweeps the adapter beside its block, `vectors` the kinds without a size,
    and `full` the whole encoder.
    """

    task: str
    encoder: str
    size: str
    updates: int
    head: HeadInit = HeadInit.RANDOM
    parallel: bool = False
    vectors: bool = False
    full: bool = False

    @property
    def kinds(self) -> tuple[str, ...]:
        """Those that are swept."""
        if self.full:
            return (FULL,)
        if self.vectors:
            return VECTORS
        return (ModuleKind.ADAPTER,) if self.parallel else KINDS

    @property
    def place(self) -> str:
        """As reports name it."""
        words = [self.task, self.encoder.replace("_", " "), self.size, str(self.updates)]
        words += ["probe"] if self.head == HeadInit.PROBE else []
        return ", ".join([*words, "parallel"] if self.parallel else words)

    @property
    def plain(self) -> "Case":
        """The same of the kinds that have a size."""
        return replace(self, vectors=False, full=False)

    def owns(self, line: dict[str, Any]) -> bool:
        """Whether a line is of this case."""
        return all(line.get(f.name, f.default) == getattr(self, f.name) for f in fields(self))

    def columns(self) -> dict[str, Any]:
        """What its lines are known by: all that is not as by default."""
        same = {f.name: f.default for f in fields(self)}
        return {k: v for k, v in asdict(self).items() if v != same[k]}


@dataclass(frozen=True)
class Fitted:
    """Cases, and the best rates there, that the line search's constants are set on."""

    cases: tuple[Case, ...]
    best: dict[str, float]


@dataclass(frozen=True)
class Settings:
    """All of study.yaml; every rival runs on `cases`, auto and the sweep alone on `further`."""

    factors: tuple[float, ...]
    thesis: dict[str, float]
    seed: int
    rows: Rows
    batch_size: int
    looks: int
    sizes: dict[str, tuple[int, int, int]]
    encoders: dict[str, Layers]
    tasks: dict[str, Source]
    fitted: Fitted
    cases: tuple[Case, ...]
    further: tuple[Case, ...]

    def modules(self, case: Case) -> ModuleOptions:
        """The candidates' options; LoRA's alpha stays twice its rank."""
        rank, bottleneck, length = self.sizes[case.size]
        lora = LoraOptions(rank=rank, alpha=2.0 * rank)
        placement: Any = "parallel" if case.parallel else "sequential"
        return ModuleOptions(PrefixOptions(length), AdapterOptions(bottleneck, placement), lora)


def load_settings() -> Settings:
    """Read study.yaml."""
    return read_study(Settings, ROOM)
