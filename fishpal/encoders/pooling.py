"""How hidden states become one vector a text, and where that is written down."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor

from fishpal.common.files import read_json, write_json
from fishpal.common.validate import STRICT, decode
from fishpal.records.facts import Pooling

FILE = "fishpal.json"


@dataclass(frozen=True)
class EncoderCard:
    """What fishpal adds to an encoder's folder."""

    __pydantic_config__ = STRICT
    pooling: Pooling


def pool(hidden: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """(B, T, d) → (B, d): the first token, or the mean over tokens that the mask (B, T) shows."""
    if pooling == "cls":
        return hidden[:, 0]
    weights = mask.to(hidden.dtype).unsqueeze(-1)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


def save_pooling(folder: str | Path, pooling: Pooling) -> None:
    """Write the encoder's pooling into its folder."""
    write_json(Path(folder) / FILE, asdict(EncoderCard(pooling)))


def load_pooling(folder: str | Path) -> Pooling:
    """The pooling that `save_pooling` wrote."""
    path = Path(folder) / FILE
    card: EncoderCard = decode(EncoderCard, read_json(path), str(path))
    return card.pooling
