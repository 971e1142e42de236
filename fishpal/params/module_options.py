"""The candidates' options: sizes, and the shapes that go with them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self

from fishpal.common.checks import Positive, Ratio, Share, Size, check, check_choice
from fishpal.common.choices import Module
from fishpal.common.kinds import ModuleKind, Site
from fishpal.common.validate import Strict

Sizes = tuple[Size, ...]


def _check_sizes(several: str, sizes: Sizes | None, one: str, size: int) -> None:
    if sizes is not None:
        allowed = f"each once, and {one} ({size}) among them, or null"
        check(size in sizes and len(set(sizes)) == len(sizes), several, list(sizes), allowed)


@dataclass(frozen=True)
class LoraOptions(Strict):
    """LoRA: rank r, scale alpha / r, dropout on the module's input.

    `ranks`, where set, are candidates each, and `rank` is the one of plans that name none.

    `sites` are the projections that are updated; `all` are those that a layer has. `rslora` makes
    the scale alpha / √r (Kalajdzievski 2023); B trains at `rate_ratio` times A's rate, which is
    the kind's (LoRA+, Hayou et al. 2024).
    """

    rank: Size = 8
    alpha: Positive = 16.0
    dropout: Share = 0.0
    sites: tuple[Site, ...] | Literal["all"] = (Site.QUERY, Site.VALUE)
    rslora: bool = False
    rate_ratio: Ratio = 1.0
    ranks: Sizes | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_sizes("ranks", self.ranks, "rank", self.rank)
        if self.sites != "all":
            for site in self.sites:
                check_choice("sites", site, tuple(Site))
            named = ", ".join(self.sites) or "empty"
            allowed = "all, or one or more, each once: " + ", ".join(Site)
            check(0 < len(set(self.sites)) == len(self.sites), "sites", named, allowed)


@dataclass(frozen=True)
class AdapterOptions(Strict):
    """Bottleneck adapter: width b, after the feed-forward block or in parallel to it.

    `bottlenecks`: as `ranks` of LoRA.
    """

    bottleneck: Size = 48
    placement: Literal["sequential", "parallel"] = "sequential"
    activation: Literal["relu", "gelu", "tanh"] = "relu"
    dropout: Share = 0.0
    bottlenecks: Sizes | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_sizes("bottlenecks", self.bottlenecks, "bottleneck", self.bottleneck)


@dataclass(frozen=True)
class PrefixOptions(Strict):
    """Prefix: p positions; optionally reparameterised through an MLP d → mid → 2d.

    `std` is the standard deviation of the start of keys and values (without an MLP) or of the
    MLP's input (with one). `start: text` starts from the encoder's own keys and values of a text
    instead (`fishpal.models.prefix_text`). `lengths`: as `ranks` of LoRA.
    """

    length: Size = 10
    reparameterize: bool = False
    mid: Size = 512
    std: Positive = 0.02
    lengths: Sizes | None = None
    start: Literal["random", "text"] = "random"

    def __post_init__(self) -> None:
        super().__post_init__()
        mlp = self.reparameterize and self.start == "text"
        check(not mlp, "start", self.start, "random where reparameterize is true: an MLP starts it")
        _check_sizes("lengths", self.lengths, "length", self.length)


SIZES = {ModuleKind.PREFIX: "length", ModuleKind.ADAPTER: "bottleneck", ModuleKind.LORA: "rank"}
"""What the size of a kind is called; with an s, its candidates'."""
# Options that came after files were written, and are left out at their defaults.
LATER = {"prefix": ("lengths", "start"), "adapter": ("bottlenecks",),
         "lora": ("sites", "rslora", "rate_ratio", "ranks")}  # fmt: skip


@dataclass(frozen=True)
class ModuleOptions(Strict):
    """The sizes of the kinds that come in sizes.

    `gates`: modules of these kinds have gates (`fishpal.modules.gate`), which are measured, too.
    """

    prefix: PrefixOptions = field(default_factory=PrefixOptions)
    adapter: AdapterOptions = field(default_factory=AdapterOptions)
    lora: LoraOptions = field(default_factory=LoraOptions)
    gates: bool = False

    def sized(self, module: Module) -> Self:
        """With the size of one module for its kind, where it has one."""
        if module.size is None:
            return self
        own = replace(getattr(self, module.kind), **{SIZES[module.kind]: module.size})
        return replace(self, **{module.kind: own})

    def candidates(self, kinds: Sequence[ModuleKind]) -> tuple[Module, ...]:
        """What a layer can get of these kinds, in their order."""
        found: list[Module] = []
        for kind in kinds:
            own = getattr(self, kind, None)
            sizes = getattr(own, f"{SIZES[kind]}s") if own else None
            found += [Module(kind, size) for size in sizes or [None]]
        return tuple(found)

    def size(self, kind: ModuleKind) -> int | None:
        """The configured one; None of a kind without sizes."""
        return getattr(getattr(self, kind), SIZES[kind]) if kind in SIZES else None

    def resized(self, kind: ModuleKind, size: int) -> Self:
        """With another size of a kind that comes in sizes; LoRA's scale stays."""
        found = self.sized(Module(kind, size))
        if kind != ModuleKind.LORA:
            return found
        power = 0.5 if self.lora.rslora else 1
        alpha = self.lora.alpha * (found.lora.rank / self.lora.rank) ** power
        return replace(found, lora=replace(found.lora, alpha=alpha))

    def chosen(self) -> Self:
        """Without the sizes to choose from: what a plan needs."""
        changed = {kind: {f"{name}s": None} for kind, name in SIZES.items()}
        return replace(self, **{k: replace(getattr(self, k), **v) for k, v in changed.items()})

    def to_json(self) -> dict[str, Any]:
        """By kind; what came later is left out at its default, so that files keep their bytes."""
        given, plain = asdict(self), asdict(ModuleOptions())
        gates = {"gates": True} if given.pop("gates") else {}
        return gates | {
            kind: {k: v for k, v in own.items() if k not in LATER[kind] or v != plain[kind][k]}
            for kind, own in given.items()
        }
