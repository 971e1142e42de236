"""What tells the study's lines apart: columns, and how tables and files call them.

A line of the store is known by its columns, a mapping such as `{task: sst2, size: 500, rule:
uniform, kind: lora, updates: 125, seed: 0}`; labels are made from columns, never read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fishpal.common.kinds import ModuleKind
from fishpal.params.load import Params
from studies.criteria.design.plans import KINDS, Layers

STORE = Path("results")
"""One JSON Lines file a group of lines; in git."""

Columns = Mapping[str, Any]

COLUMNS = (
    "task", "size", "rule", "drawn", "share", "top_layers", "name", "kind", "layer", "draw",
    "rate", "updates", "head", "mode", "estimator", "dropout", "reparameterize", "std",
    "examples", "seed",
)  # fmt: skip
"""All columns that a line may have, in the order that lines are sorted by.

`rule` says how the plan came about: `none` (the head alone), `uniform` (one `kind`), `lead` (a
`name` of study.yaml), `mix` (`drawn` one way, number `draw`), `alone` (one `kind` at one `layer`),
`random`, `top`, `bottom`, `spread` and `small` (placements and sizes under a `share`), `criterion`.
From `head` to `examples` they say how Fisher information was measured; `seed` is then its own.
"""

EXAMPLES, SEEDS = (16, 64, 256), (0, 1, 2)
"""Fisher examples and seeds whose stability is measured."""

UNIFORM = tuple(kind.value for kind in KINDS)


def word(layers: Layers) -> str:
    """A plan as one letter a layer, from the lowest up: P, A, L, or - for none."""
    return "".join(letter(kind) for kind in layers)


def letter(kind: ModuleKind | None) -> str:
    """A kind's initial, or - for none."""
    return "-" if kind is None else kind[0].upper()


def label(columns: Columns) -> str:
    """What tables call a plan: `lora`, `stratified_03`, `b10_top_lora` for a tenth, `free`."""
    rule, share = columns["rule"], columns.get("share")
    mark = [] if share is None else [f"b{round(100 * share):02d}"]
    if rule == "criterion":
        top = ["top"] if columns.get("top_layers") else []
        return "_".join([*(mark or ["free"]), *top])
    if rule == "mix":
        return f"{columns['drawn']}_{columns['draw']:02d}"
    if rule in ("none", "uniform", "lead"):
        return str(columns.get("kind") or columns.get("name") or "head")
    return "_".join([*mark, rule, str(columns.get("kind", columns.get("draw")))])


def measured_by(params: Params) -> dict[str, Any]:
    """The columns that say how Fisher information is measured."""
    fisher, prefix = params.fisher, params.modules.prefix
    return {
        "head": params.head.init.value,
        "mode": fisher.mode.value,
        "estimator": fisher.estimator.value,
        "dropout": fisher.dropout,
        "reparameterize": prefix.reparameterize,
        "std": prefix.std,
        "examples": fisher.examples,
        "seed": fisher.seed,
    }


def base(params: Params) -> dict[str, Any]:
    """The measurement that the ablation varies: most examples, first seed, else as in params."""
    return measured_by(params) | {"examples": EXAMPLES[-1], "seed": SEEDS[0]}


def store_path(group: str) -> Path:
    """The file of a group of lines."""
    return STORE / f"{group}.jsonl"
