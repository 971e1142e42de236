"""How hidden states become one vector a text, and where that is written down."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fishpal.records.facts import Pooling
from fishpal.records.record import JsonRecord

FILE = "fishpal.json"


@dataclass(frozen=True)
class EncoderCard(JsonRecord):
    """What fishpal adds to an encoder's folder."""

    pooling: Pooling


def pool(hidden: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """(B, T, d) → (B, d): first token, last one that the mask (B, T) shows, or mean over these."""
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "last":
        places = torch.arange(mask.shape[1], device=mask.device)
        last = (mask * places).argmax(dim=1)  # whichever side is padded
        return hidden[torch.arange(len(hidden), device=mask.device), last]
    weights = mask.to(hidden.dtype).unsqueeze(-1)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)
