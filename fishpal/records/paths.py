"""Where every artifact lies: the one place that knows, beside dvc.yaml."""

from dataclasses import dataclass
from pathlib import Path

CARD, PLAN = "card.json", "plan.json"  # of a trained folder (layout: `models.trained`)
# Of a folder of tokens (layout: `records.examples`).
TASK, FIT, SELECTION = "train/task.json", "train/fit.arrow", "train/selection.arrow"


@dataclass(frozen=True)
class Artifacts:
    """The paths below `root`; a cell is task, method, seed."""

    root: Path = Path("artifacts")

    @property
    def encoder(self) -> Path:
        return self.root / "encoder"

    def source(self, section: str) -> Path:
        """Hashes of the local files of `encoder` or `catalog.<task>`."""
        return self._file("sources", section)

    def code(self, name: str) -> Path:
        """Hashes of the source files that the cells of a stage share."""
        return self._file("code", name)

    def raw(self, task: str) -> Path:
        """The folder of the clean splits and `card.json`."""
        return self.root / "raw" / task

    def tokens(self, task: str) -> Path:
        """Folder of the tokenised splits (layout: `records.examples`)."""
        return self.root / "tokens" / task

    def read_by_training(self, task: str) -> list[Path]:
        """What a training or a pilot reads of examples and encoder."""
        parts = [self.tokens(task) / part for part in (TASK, FIT, SELECTION)]
        return [*parts, *sorted(self.encoder.glob("*"))]

    def fisher(self, task: str) -> Path:
        """The Fisher table."""
        return self._file("fisher", task)

    def grams(self, task: str) -> Path:
        """What criteria need beyond the table."""
        return self._file("fisher", task, suffix=".safetensors")

    def pilot(self, task: str) -> Path:
        """How long to train, and which kind learns best."""
        return self._file("pilot", task)

    def plan(self, task: str, method: str) -> Path:
        return self._file("plans", task, method)

    def trained(self, task: str, method: str, seed: int | str) -> Path:
        """A trained folder (layout: `models.trained`)."""
        return self.root / "trained" / task / method / str(seed)

    def checkpoint(self, task: str, method: str, seed: int | str) -> Path:
        """Of a training under way: beside the outputs, which DVC removes before a stage runs."""
        return self._file("checkpoints", task, method, seed, suffix=".safetensors")

    def pilot_checkpoint(self, task: str) -> Path:
        """As `checkpoint`, of the pilot."""
        return self._file("checkpoints", task, "pilot", suffix=".safetensors")

    def finished(self, key: str) -> Path:
        """Of a finished training or evaluation, by all that decided it."""
        return self._file("checkpoints", "finished", key)

    def raced(self, task: str) -> Path:
        """A trained folder of the pilot's last arm; it is a cell's as well, where one is equal."""
        return self.root / "checkpoints" / "raced" / task

    def curve(self, task: str, method: str, seed: int | str) -> Path:
        return self._file("curves", task, method, seed, suffix=".csv")

    def evaluated(self, task: str, method: str, seed: int | str) -> Path:
        """A cell's metrics and predictions."""
        return self.root / "evaluated" / task / method / str(seed)

    def metrics(self, task: str, method: str, seed: int | str) -> Path:
        return self.evaluated(task, method, seed) / "metrics.json"

    def predictions(self, task: str, method: str, seed: int | str) -> Path:
        return self.evaluated(task, method, seed) / "predictions.parquet"

    def seconds(self, stage: str, *names: int | str) -> Path:
        """Wall clock of `fisher`, `pilot` (task), `select` (task, method) or `train` (a cell)."""
        return self._file("seconds", stage, *names)

    def _file(self, folder: str, *names: int | str, suffix: str = ".json") -> Path:
        *folders, name = map(str, names)
        return self.root.joinpath(folder, *folders, name + suffix)
