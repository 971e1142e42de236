"""What tables and plans need to know of an encoder and a head without loading either."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from fishpal.common.checks import check_positive
from fishpal.common.kinds import HeadInit


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


class Limits(NamedTuple):
    """What an encoder can read: token ids, token types and tokens a text (None: any number)."""

    ids: int
    types: int
    tokens: int | None
