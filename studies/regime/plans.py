"""The plans that are trained, by name."""

from fishpal.common.kinds import ModuleKind
from fishpal.params.module_options import LoraOptions, ModuleOptions
from studies.criteria.design.names import label
from studies.criteria.design.plans import KINDS, Layers, no_modules, random_mixes, uniform
from studies.criteria.design.settings import Mixes
from studies.regime.settings import Settings

DRAWN = Mixes(uniform=12, stratified=12, seed=0)  # as in studies/criteria/study.yaml


def whole_plans(settings: Settings, layers: int) -> dict[str, Layers]:
    """The head alone, one kind everywhere, and the first mixes of studies/criteria."""
    plain = [no_modules(layers), *(uniform(kind, layers) for kind in KINDS)]
    mixes = random_mixes(DRAWN, layers, [plan.layers for plan in plain])
    first = [mix for mix in mixes if mix.columns["draw"] < settings.mixes]
    return {label(plan.columns): plan.layers for plan in [*plain, *first]}


def small_plans(settings: Settings, layers: int) -> dict[str, tuple[Layers, ModuleOptions]]:
    """LoRA of small ranks at every layer, and every kind at the top layers alone."""
    lora: Layers = (ModuleKind.LORA,) * layers
    found = {
        f"lora_rank_{rank}": (lora, ModuleOptions(lora=LoraOptions(rank, 2.0 * rank)))
        for rank in settings.ranks
    }
    for top in settings.tops:
        for kind in KINDS:
            plan: Layers = (None,) * (layers - top) + (kind,) * top
            found[f"top_{top}_{kind.value}"] = (plan, ModuleOptions())
    return found
