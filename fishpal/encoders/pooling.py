"""How hidden states become one vector a text, and where that is written down."""

from dataclasses import dataclass

from torch import Tensor

from fishpal.records.facts import Pooling
from fishpal.records.record import JsonRecord

FILE = "fishpal.json"


@dataclass(frozen=True)
class EncoderCard(JsonRecord):
    """What fishpal adds to an encoder's folder."""

    pooling: Pooling


def pool(hidden: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """(B, T, d) → (B, d): the first token, or the mean over tokens that the mask (B, T) shows."""
    if pooling == "cls":
        return hidden[:, 0]
    weights = mask.to(hidden.dtype).unsqueeze(-1)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)
