"""How hidden states become one vector a text, and where that is written down."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from fishpal.common.errors import brief, caution
from fishpal.common.files import read_json
from fishpal.common.validate import decode
from fishpal.records.facts import Pooling
from fishpal.records.record import JsonRecord

POOLINGS: tuple[str, ...] = get_args(Pooling)
FILE = "fishpal.json"
OTHERS = Path("1_Pooling", "config.json")  # that of sentence-transformers
FLAG = "pooling_mode"  # names the mode, or, with an ending, is true of it
MODES: dict[str, Pooling] = {
    "cls": "cls", "cls_token": "cls", "mean": "mean", "mean_tokens": "mean", "lasttoken": "last",
}  # fmt: skip


@dataclass(frozen=True)
class EncoderCard(JsonRecord):
    """What fishpal adds to an encoder's folder."""

    pooling: Pooling


def written_pooling(folder: Path) -> Pooling | None:
    """As an encoder's folder says, in fishpal's file or in sentence-transformers'; or None, with a
    warning where it says what is no `Pooling`."""
    if (folder / FILE).is_file():
        return EncoderCard.load(folder / FILE).pooling
    if not (folder / OTHERS).is_file():
        return None
    content = decode(dict[str, Any], read_json(folder / OTHERS), str(folder / OTHERS))
    flags = [key for key, value in content.items() if key.startswith(f"{FLAG}_") and value is True]
    named = content.get(FLAG, [])
    modes = [flag.removeprefix(f"{FLAG}_") for flag in flags]
    modes += list(map(str, named)) if isinstance(named, list) else [str(named)]
    if len(modes) == 1 and modes[0] in MODES:
        return MODES[modes[0]]
    if modes:
        found = brief(", ".join(modes))
        caution(f"{folder / OTHERS}: pools by {found}, which is none of {', '.join(POOLINGS)}")
    return None


def pool(hidden: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """(B, T, d) → (B, d): first token, last one that the mask (B, T) shows, or mean over these."""
    if pooling == "cls":
        return _at(hidden, mask.int().argmax(dim=1))
    if pooling == "last":
        places = torch.arange(mask.shape[1], device=mask.device)
        return _at(hidden, (mask * places).argmax(dim=1))
    return _mean(hidden, mask)


def _at(hidden: Tensor, places: Tensor) -> Tensor:
    """Each text's own place (B) of (B, T, d), whichever side is padded."""
    return hidden[torch.arange(hidden.shape[0], device=hidden.device), places]


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
