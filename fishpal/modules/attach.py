"""Building the modules of a plan and putting them to work in an encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Generator, nn

from fishpal.common.errors import AttachError
from fishpal.common.kinds import ModuleKind
from fishpal.encoders.encoder import ports_of
from fishpal.modules import Adapter, CandidateModule, Lora, Prefix
from fishpal.params.options import ModuleOptions


def candidate_generator(seed: int, layer: int, kind: ModuleKind) -> Generator:
    """The random numbers that one candidate starts from.

    They depend on the seed and the candidate alone, so that a candidate starts the same in every
    plan and two plans differ only where their layers do.
    """
    position = list(ModuleKind).index(kind)
    state = np.random.SeedSequence([seed, layer, position]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> 1))  # manual_seed takes 63 bits


def build_module(
    kind: ModuleKind, layer: int, hidden: int, options: ModuleOptions, seed: int
) -> CandidateModule:
    """A fresh module of a kind for one layer of an encoder `hidden` wide."""
    generator = candidate_generator(seed, layer, kind)
    if kind == ModuleKind.PREFIX:
        return Prefix(layer, hidden, options.prefix, generator)
    if kind == ModuleKind.ADAPTER:
        return Adapter(layer, hidden, options.adapter, generator)
    return Lora(layer, hidden, options.lora, generator)


def build_modules(
    layers: Sequence[ModuleKind | None], hidden: int, options: ModuleOptions, seed: int
) -> list[CandidateModule]:
    """A fresh module for each layer that has a kind, in the order of layers."""
    return [
        build_module(kind, layer, hidden, options, seed)
        for layer, kind in enumerate(layers)
        if kind is not None
    ]


def attach(encoder: nn.Module, modules: Sequence[CandidateModule]) -> None:
    """Attach every module to its layer, or none of them.

    Raises:
        AttachError: for no modules, a layer that the encoder lacks, or a kind it cannot take.
    """
    if not modules:
        raise AttachError("modules is empty; allowed: one module or more")
    ports = ports_of(encoder)
    done: list[CandidateModule] = []
    try:
        for module in modules:
            if not 0 <= module.layer < len(ports):
                raise AttachError(f"layer is {module.layer}; allowed: 0 to {len(ports) - 1}")
            module.attach(ports[module.layer])
            done.append(module)
    except AttachError:
        detach(done)
        raise


def detach(modules: Sequence[CandidateModule]) -> None:
    """Take modules out again; the encoder computes exactly what it did before."""
    for module in modules:
        module.detach()


@contextmanager
def attached(encoder: nn.Module, modules: Sequence[CandidateModule]) -> Iterator[None]:
    """`attach` for the length of a block."""
    attach(encoder, modules)
    try:
        yield
    finally:
        detach(modules)
