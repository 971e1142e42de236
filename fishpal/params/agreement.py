"""What a method of the grid asks of other sections, so that no stage finds it missing."""

from collections.abc import Collection, Iterator
from dataclasses import asdict

from fishpal.common.checks import check
from fishpal.common.kinds import CriterionName, Estimator, FisherMode, ModuleKind
from fishpal.params.methods import (
    ByCriterion,
    Full,
    HeadOnly,
    Method,
    Race,
    Random,
    Uniform,
)
from fishpal.params.module_options import SIZES, ModuleOptions
from fishpal.params.options import FisherOptions, SelectOptions, TrainOptions

P, A, L = ModuleKind.PREFIX, ModuleKind.ADAPTER, ModuleKind.LORA
KINDS = {"mam": (P, A), "unipelt": (P, A, L), "thesis": (P, A, L)}  # of rules that fix them


def check_measured(
    method: Method, where: str, fisher: FisherOptions, modules: ModuleOptions
) -> None:
    """Raise unless the Fisher table will have what the method's plan is made of.

    Args:
        where: the method's key.
    """
    for kind in kinds_of(method):
        named = ", ".join(fisher.kinds)
        check(kind in fisher.kinds, "fisher.kinds", named, f"{kind} among them, for {where}")
    if isinstance(method, Uniform) and method.size is not None:
        own = modules.size(method.kind)
        found = [module.size or own for module in modules.candidates((method.kind,))]
        known = ", ".join(map(str, filter(None, found))) or "null"
        more = f" (modules.{method.kind}.{SIZES[method.kind]}s)" if method.kind in SIZES else ""
        check(method.size in found, f"{where}.size", method.size, known + more)
    if fisher.mode == FisherMode.JOINT:
        allowed, lengths = "null where fisher.mode is joint", modules.prefix.lengths
        check(lengths is None, "modules.prefix.lengths", lengths, f"{allowed}: a layer has one")


def kinds_of(method: Method) -> tuple[ModuleKind, ...]:
    """Those that its plan is made of, whatever is measured."""
    return (method.kind,) if isinstance(method, Uniform) else KINDS.get(method.rule, ())


def check_scored(
    method: Method, where: str, fisher: FisherOptions, select: SelectOptions, train: TrainOptions
) -> None:
    """Raise unless the Fisher table will have what the method's criteria read."""
    for criterion in _criteria(method, select, train):
        if criterion == CriterionName.SNR:
            allowed = f"empirical, for criterion snr of {where}"
            observed = fisher.estimator == Estimator.EMPIRICAL
            check(observed, "fisher.estimator", fisher.estimator, allowed)
        if criterion == CriterionName.KERNEL:
            check(fisher.gram, "fisher.gram", fisher.gram, f"true, for criterion kernel of {where}")


def _criteria(
    method: Method, select: SelectOptions, train: TrainOptions
) -> Iterator[CriterionName]:
    if isinstance(method, ByCriterion):
        yield method.criterion or select.criterion
    elif isinstance(method, Race):
        yield from train.race.criteria


def unread(methods: Collection[Method], select: SelectOptions) -> list[str]:
    """Keys of `select` that are not as by default, and that none of these methods reads."""
    read: set[str] = set()
    for method in methods:
        if isinstance(method, ByCriterion | Random):
            read |= {"allow_none", "budget", "top_layers", "per_layer"}
        if isinstance(method, ByCriterion):
            read |= {"fallback"} | ({"criterion"} if method.criterion is None else set())
    usual = SelectOptions()
    changed = (k for k in asdict(select) if getattr(select, k) != getattr(usual, k))
    return [key for key in changed if key not in read]


def check_trained(method: Method, where: str, fisher: FisherOptions, train: TrainOptions) -> None:
    """Raise unless a race has its pilot, and what is trained has a rate."""
    if isinstance(method, Race):
        runs = train.pilot or (train.epochs is None and train.updates == "auto")
        check(runs, "train.pilot", train.pilot, f"true, for rule race of {where}")
    if isinstance(method, HeadOnly):
        allowed = f"true, as {where} trains nothing else"
        check(train.train_head, "train.train_head", train.train_head, allowed)
    if isinstance(method, Full):
        rate = train.learning_rate.full
        known = method.learning_rate is not None or rate != "auto" or fisher.full
        allowed = f"a number, or fisher.full: true, for {where}"
        check(bool(known), "train.learning_rate.full", rate, allowed)
