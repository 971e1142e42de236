"""Building the modules of a plan and putting them to work in an encoder.

An encoder serves one model at a time: modules are hooks in it, so that those of a second model
would change the first one's logits without a word. What is attached is known here, by encoder.
"""

from collections.abc import Callable, Sequence
from weakref import ReferenceType, WeakKeyDictionary, ref

import numpy as np
import torch
from torch import Generator, nn

from fishpal.common.choices import Choice, Module, modules_of
from fishpal.common.errors import AttachError
from fishpal.common.kinds import ModuleKind
from fishpal.encoders.ports import LayerShape, ports_of
from fishpal.modules import Adapter, Bias, CandidateModule, Ia3, Lora, Prefix
from fishpal.params.module_options import ModuleOptions

KINDS: dict[ModuleKind, Callable[..., CandidateModule]]
KINDS = {each.kind: each for each in (Prefix, Adapter, Lora, Bias, Ia3)}
# How several at one layer compose. Those that `merge` come first, since merged ones act first: a
# sequential adapter reads what they made of the output; and scales last of these, of the sum.
ORDER = (ModuleKind.LORA, ModuleKind.BIAS, ModuleKind.IA3, ModuleKind.PREFIX, ModuleKind.ADAPTER)
AGAIN = "load the encoder again (`load_encoder`) for every further model"
# Weak: an encoder that nobody uses must go, with what is attached to it.
_ATTACHED: WeakKeyDictionary[nn.Module, list[CandidateModule]] = WeakKeyDictionary()
_CHANGED: WeakKeyDictionary[nn.Module, tuple[str, ReferenceType[object]]] = WeakKeyDictionary()


def candidate_generator(seed: int, layer: int, kind: ModuleKind) -> Generator:
    """The random numbers that one candidate starts from.

    They depend on the seed and the candidate alone, so that a candidate starts the same in every
    plan and two plans differ only where their layers do.
    """
    position = list(ModuleKind).index(kind)
    state = np.random.SeedSequence([seed, layer, position]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> 1))  # manual_seed takes 63 bits


def build_module(
    word: str, layer: int, shape: LayerShape, options: ModuleOptions, seed: int
) -> CandidateModule:
    """A fresh module for one layer, named by its kind or as `lora-8` (`common.choices`).

    `AttachError` where the layer cannot take it.
    """
    wanted = Module.parse(word)
    generator = candidate_generator(seed, layer, wanted.kind)
    module = KINDS[wanted.kind](layer, shape, options.sized(wanted), generator)
    module.size = wanted.size
    return module


def build_modules(
    layers: Sequence[Choice],
    shapes: Sequence[LayerShape],
    options: ModuleOptions,
    seed: int,
) -> list[CandidateModule]:
    """Every layer's fresh modules, by layer, then in the order of `ORDER`.

    `shapes` are the encoder's (`Encoder.shapes`).
    """
    return [
        build_module(str(module), layer, shapes[layer], options, seed)
        for layer, word in enumerate(layers)
        for module in sorted(modules_of(word), key=lambda each: ORDER.index(each.kind))
    ]


def attach(encoder: nn.Module, modules: Sequence[CandidateModule]) -> None:
    """Attach every module to its layer, or none of them.

    `AttachError` for no modules, a layer that the encoder lacks, a kind that it cannot take, or an
    encoder in use.
    """
    if not modules:
        raise AttachError("modules is empty; allowed: one module or more")
    check_free(encoder)
    ports = ports_of(encoder)
    held = _ATTACHED.setdefault(encoder, [])
    for number, module in enumerate(modules):
        try:
            if not 0 <= module.layer < len(ports):
                raise AttachError(f"layer is {module.layer}; allowed: 0 to {len(ports) - 1}")
            module.attach(ports[module.layer], held)
        except AttachError:
            detach(modules[:number])
            raise


def detach(modules: Sequence[CandidateModule]) -> None:
    """Take modules out again; the encoder computes exactly what it did before."""
    for module in modules:
        module.detach()


def attached_to(encoder: nn.Module) -> tuple[CandidateModule, ...]:
    """The modules at work in an encoder, in the order in which they were attached."""
    return tuple(_ATTACHED.get(encoder, ()))


def mark_changed(encoder: nn.Module, how: str, owner: object) -> None:
    """Note that the encoder's own weights are now those of one model, and how that came."""
    _CHANGED[encoder] = (how, ref(owner))


def check_free(encoder: nn.Module) -> None:
    """Raise `AttachError` unless the encoder is as it was loaded."""
    found = attached_to(encoder)
    if found:
        kinds = ", ".join(sorted({module.kind.value for module in found}))
        raise AttachError(
            f"the encoder has {len(found)} modules attached ({kinds}); allowed: none: call"
            f" `.detach()` of the model that has them, or {AGAIN}"
        )
    if encoder in _CHANGED:
        how, _ = _CHANGED[encoder]
        raise AttachError(f"the encoder's weights are {how}; allowed: the loaded ones: {AGAIN}")


def check_own(encoder: nn.Module, owner: object, modules: Sequence[CandidateModule]) -> None:
    """Raise `AttachError` where the encoder no longer computes what its `owner` expects."""
    _, changer = _CHANGED.get(encoder, ("", lambda: owner))
    if attached_to(encoder) != tuple(modules) or changer() is not owner:
        raise AttachError(f"another model has taken the encoder since; allowed: {AGAIN}")
