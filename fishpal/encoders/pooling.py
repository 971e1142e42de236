"""How hidden states become one vector a text, and where that is written down."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fishpal.common.files import read_json
from fishpal.common.validate import decode
from fishpal.records.facts import Pooling
from fishpal.records.record import JsonRecord

FILE = "fishpal.json"
OTHERS = Path("1_Pooling", "config.json")  # that of sentence-transformers
MODES: dict[str, Pooling] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last",
}


@dataclass(frozen=True)
class EncoderCard(JsonRecord):
    """What fishpal adds to an encoder's folder."""

    pooling: Pooling


def written_pooling(folder: Path) -> Pooling | None:
    """As an encoder's folder says, in fishpal's file or in sentence-transformers'; or None."""
    if (folder / FILE).is_file():
        return EncoderCard.load(folder / FILE).pooling
    if not (folder / OTHERS).is_file():
        return None
    content = decode(dict[str, Any], read_json(folder / OTHERS), str(folder / OTHERS))
    found = [ours for mode, ours in MODES.items() if content.get(mode) is True]
    return found[0] if len(found) == 1 else None


def pool(hidden: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """(B, T, d) → (B, d): first token, last one that the mask (B, T) shows, or mean over these."""
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "last":
        places = torch.arange(mask.shape[1], device=mask.device)
        last = (mask * places).argmax(dim=1)  # whichever side is padded
        return hidden[torch.arange(hidden.shape[0], device=mask.device), last]
    return _mean(hidden, mask)


def features_of(hidden: int, compares: bool) -> int:
    """How many features a head reads of an encoder of this width: d, or 3 d."""
    return 3 * hidden if compares else hidden


def compare(hidden: Tensor, mask: Tensor, second: Tensor, pooling: Pooling) -> Tensor:
    """(B, T, d) → (B, 3 d): the pooled vector of both texts, |u − v| and u ∗ v.

    u and v are the means over either text's tokens, the second's from the position `second` (B)
    on, not counting padding; zero where it has none left. As heads over sentence embeddings read
    pairs (Conneau et al. 2017, §3.1; Reimers & Gurevych 2019, §3), here of texts that the encoder
    read together.
    """
    later = mask.cumsum(dim=1) > second.unsqueeze(1)  # whichever side is padded
    first, last = (_mean(hidden, mask * side) for side in (~later, later))
    both = pool(hidden, mask, pooling)
    return torch.cat([both, (first - last).abs(), first * last], dim=1)


def _mean(hidden: Tensor, mask: Tensor) -> Tensor:
    weights = mask.to(hidden.dtype).unsqueeze(-1)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
