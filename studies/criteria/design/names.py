"""What the study's files and configurations are called."""

from __future__ import annotations

from pathlib import Path

from fishpal.common.kinds import ModuleKind

CELLS = Path("cells")
SIGNALS = Path("signals")

PROBE = "probe"
"""The folder of cells of probe training."""

EXAMPLES, SEEDS = (16, 64, 256), (0, 1, 2)
"""Fisher examples and seeds whose stability is measured."""

BASE = "n256_s0"
"""256 examples, seed 0, isolated, empirical, random head: what the ablation varies."""

UNIFORM = tuple(kind.value for kind in ModuleKind)
MIXES = ("uniform_", "stratified_")
"""What the names of random mixes start with."""


def share_mark(share: float) -> str:
    """What the names of plans under a budget start with: `b10` for a tenth."""
    return f"b{round(100 * share):02d}"
