"""What tables, plans and models need to know of an encoder, a head and a task."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fishpal.common.checks import Count
from fishpal.common.errors import DataError, FishpalError
from fishpal.common.kinds import HeadInit
from fishpal.common.validate import Strict
from fishpal.records.record import JsonRecord, without_default

Pooling = Literal["mean", "cls", "last"]
Precision = Literal["float32", "bfloat16", "float16"]
"""How hidden states become one vector a text: over all tokens, the first or the last one's."""


@dataclass(frozen=True)
class EncoderFacts(Strict):
    """An encoder's type (`config.model_type`), depth, width and number of parameters."""

    type: str
    layers: Count
    hidden: Count
    parameters: Count


@dataclass(frozen=True)
class Scale(Strict):
    """How a regression's labels y are standardised: z = (y − mean) / sd, of the fit part.

    The sign of `sd` is such that the first fit label beside the mean is positive. So any affine
    change of the labels, a·y + b with a ≠ 0, leaves z as it is, and all that is made from it.
    """

    mean: float
    sd: float

    @classmethod
    def of(cls, labels: Sequence[float] | NDArray[np.float64]) -> Self:
        """Of the fit part's labels; `DataError` where they have no spread, or an infinite one."""
        values = np.asarray(labels, dtype=np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            mean, sd = float(values.mean()), float(values.std())
        if not 0 < sd < math.inf:
            raise DataError(f"labels have a standard deviation of {sd}; allowed: finite, above 0")
        beside = np.flatnonzero(np.abs(values - mean) > 1e-6 * sd)
        return cls(mean, math.copysign(sd, values[beside[0]] - mean))

    def standardise(self, label: float) -> float:
        """z to six decimals: what rounding leaves of a, b falls away, and float32 holds no more."""
        return round((label - self.mean) / self.sd, 6)

    def restore(self, predicted: NDArray[np.floating]) -> NDArray[np.float64]:
        """Predictions in the labels' own unit."""
        return predicted.astype(np.float64) * self.sd + self.mean


@dataclass(frozen=True)
class TaskFacts(JsonRecord):
    """What a model has to know of a task.

    Attributes:
        labels: class names; null: a regression.
        pad_id: the tokenizer's padding.
        scale: a regression's, whose labels then train standardised; null: as they are.
        pair: whether an example is two texts.
    """

    name: str
    labels: tuple[str, ...] | None
    pad_id: int
    scale: Scale | None = None
    pair: bool = False

    def __post_init__(self) -> None:
        if self.labels is not None and len(self.labels) < 2:
            raise FishpalError(f"labels is {list(self.labels)}; allowed: two or more, or null")
        if self.labels is not None and len(set(self.labels)) < len(self.labels):
            raise FishpalError(f"labels is {list(self.labels)}; allowed: each once")
        if self.labels is not None and self.scale is not None:
            raise FishpalError("scale is given with labels; allowed: for a regression alone")

    @property
    def outputs(self) -> int:
        """Logits a text: one a class, or the one of a regression."""
        return 1 if self.labels is None else len(self.labels)

    def standardise(self, label: float) -> float:
        """A label as the model is trained on it."""
        return label if self.scale is None else self.scale.standardise(label)

    def to_json(self) -> dict[str, Any]:
        """Without the scale where there is none, and without `pair` for single texts."""
        return without_default(without_default(super().to_json(), "scale", None), "pair", False)


@dataclass(frozen=True)
class HeadFacts(Strict):
    """The head's start and its number of outputs (1 for a regression).

    `compares`: whether it reads the two texts of a pair beside one another, too.
    """

    init: HeadInit
    seed: int
    outputs: int
    compares: bool = False


class Limits(NamedTuple):
    """What an encoder can read: token ids, token types and tokens a text (None: any number)."""

    ids: int
    types: int
    tokens: int | None
