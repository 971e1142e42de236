"""The Fisher table: one row a candidate, and its file format."""

from dataclasses import dataclass
from typing import Any

from fishpal.common.choices import Module
from fishpal.common.errors import PlanError
from fishpal.common.kinds import Estimator, FisherMode, ModuleKind
from fishpal.common.validate import Strict
from fishpal.params.module_options import ModuleOptions
from fishpal.records.facts import EncoderFacts, HeadFacts, Precision
from fishpal.records.record import JsonRecord, without_default

VERSION = 1


@dataclass(frozen=True)
class CandidateRow(Strict):
    """Fisher statistics of one kind at one layer, over n examples.

    With g the per-example gradient of log p(y|x) with respect to the candidate's P parameters:

    Attributes:
        trace: trace of the diagonal estimate, Σ_i mean_x g_i² (nats² per squared unit).
        mean: trace / P.
        gradient_l1: Σ_i |mean_x g_i|, with g at the observed label whatever the estimator.
        gradient_sq_l2: Σ_i (mean_x g_i)², likewise.
        tensor_traces: the trace split by the module's tensors (sums to `trace`).
        tensor_parameters: number of parameters of each of these tensors.
        size: the candidate's; None, left out in the file: the one its kind is configured with.
    """

    layer: int
    kind: ModuleKind
    parameters: int
    trace: float
    mean: float
    gradient_l1: float
    gradient_sq_l2: float
    tensor_traces: dict[str, float]
    tensor_parameters: dict[str, int]
    size: int | None = None

    @property
    def key(self) -> tuple[int, str]:
        """The candidate: its layer, and its word."""
        return self.layer, str(Module(self.kind, self.size))


@dataclass(frozen=True)
class FisherTable(JsonRecord):
    """Every candidate's row and how it was measured.

    `kinds` is also the order in which selection breaks ties. `gram` says whether the file of
    per-example kernels lies beside the table. `precision`: of the passes; left out of the file
    where it is float32.
    """

    version: int
    task: str
    encoder: EncoderFacts
    head: HeadFacts
    modules: ModuleOptions
    kinds: tuple[ModuleKind, ...]
    estimator: Estimator
    mode: FisherMode
    examples: int
    seed: int
    gram: bool
    rows: tuple[CandidateRow, ...]
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise PlanError(f"version is {self.version}; allowed: {VERSION}")
        if not self.kinds:
            raise PlanError("kinds is []; allowed: one kind or more")
        # Counted before they are listed: a broken file may hold any number of layers.
        words = list(map(str, self.candidates))
        count = self.encoder.layers * len(words)
        if len(self.rows) != count or not self._in_order(words):
            allowed = f"each of the {count} (layer, candidate) once, by layer, then as in kinds"
            raise PlanError(f"rows hold {len(self.rows)} candidates; allowed: {allowed}")

    def _in_order(self, words: list[str]) -> bool:
        expected = [(layer, word) for layer in range(self.encoder.layers) for word in words]
        return [row.key for row in self.rows] == expected

    @property
    def candidates(self) -> tuple[Module, ...]:
        """Those of every layer, in the order in which selection breaks ties."""
        return self.modules.candidates(self.kinds)

    def words(self, kind: ModuleKind) -> list[str]:
        """Those of one kind, by their words."""
        return [str(module) for module in self.candidates if module.kind == kind]

    def to_json(self) -> dict[str, Any]:
        data = super().to_json() | {"modules": self.modules.to_json()}
        data["head"] = without_default(data["head"], "compares", False)
        for row in data["rows"]:
            if row["size"] is None:
                del row["size"]
        return without_default(data, "precision", "float32")

    def row(self, layer: int, word: str) -> CandidateRow:
        """The row of one candidate."""
        words = list(map(str, self.candidates))
        return self.rows[layer * len(words) + words.index(word)]
