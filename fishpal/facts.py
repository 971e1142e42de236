"""What tables and plans need to know of an encoder and a head without loading either."""

from __future__ import annotations

from dataclasses import dataclass

from fishpal.checks import check_positive
from fishpal.kinds import HeadInit


@dataclass(frozen=True)
class EncoderFacts:
    """An encoder's type (`config.model_type`), depth, width and number of parameters."""

    type: str
    layers: int
    hidden: int
    parameters: int

    def __post_init__(self) -> None:
        check_positive(layers=self.layers, hidden=self.hidden, parameters=self.parameters)


@dataclass(frozen=True)
class HeadFacts:
    """The head's start and its number of outputs (1 for a regression)."""

    init: HeadInit
    seed: int
    outputs: int
