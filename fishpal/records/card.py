"""What `download` and `tokenize` found in a task's rows."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from fishpal.common.errors import PlanError
from fishpal.common.files import read_json, write_json
from fishpal.common.validate import Strict, decode
from fishpal.records.record import JsonRecord

FAR = 10  # standard deviations; the farthest of a million normal labels lies at about 5


@dataclass(frozen=True)
class SplitCard(Strict):
    """Rows of a published split, and how many have each label (none for a regression)."""

    rows: int
    labels: dict[str, int] | None = None


@dataclass(frozen=True)
class Card(JsonRecord):
    """`artifacts/raw/<task>/card.json`: what was read and what was wrong with it.

    Attributes:
        labels: class names in class order; None for a regression.
        dropped: rows left out, by reason.
        overlap: distinct texts (or pairs) that stand in two splits, by "first/second".
        conflicts: texts of the raw table of train that occur with two labels or more, counted
            before duplicates go and before a cut.
    """

    task: str
    source: dict[str, Any]
    columns: dict[str, Any]
    labels: tuple[str, ...] | None
    splits: dict[str, SplitCard]
    dropped: dict[str, int]
    overlap: dict[str, int]
    conflicts: int


@dataclass
class SplitCounts(Strict):
    """Rows of a tokenised split, how many were cut at max_length, and the longest in tokens.

    `labels`: how many rows have each class, in class order; none for a regression. `far`: the
    label of a regression farthest from fit's mean, where that is more than `FAR` of its standard
    deviations away, or few such rule the loss. `unread`: rows of which the tokenizer knows nothing.
    """

    rows: int = 0
    truncated: int = 0
    max_tokens: int = 0
    labels: list[int] | None = None
    far: float | None = None
    unread: int | None = None


@dataclass(frozen=True)
class Counts(Strict):
    """`artifacts/tokens/<task>/counts.json`: fit, selection and each evaluation split.

    `removed_duplicates` are rows kept out of fit, since their texts, or their groups, stand in
    selection.
    """

    splits: dict[str, SplitCounts]
    removed_duplicates: int = 0

    def save(self, path: str | Path) -> None:
        data = asdict(self)
        splits = data.pop("splits").items()
        parts = {s: {k: v for k, v in counts.items() if v is not None} for s, counts in splits}
        write_json(path, parts | data)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        data = read_json(path)
        if not isinstance(data, dict):
            raise PlanError(f"{path} is {type(data).__name__}; allowed: a mapping")
        rest = {key: data.pop(key) for key in ("removed_duplicates",) if key in data}
        return decode(cls, {"splits": data} | rest, str(path))
