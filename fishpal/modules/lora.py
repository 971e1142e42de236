"""LoRA on the query and value projections (Hu et al. 2022, §4.2)."""

import math
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor, nn

from fishpal.common.kinds import ModuleKind
from fishpal.encoders.encoder import LayerPorts, Projection
from fishpal.modules.base import CandidateModule
from fishpal.params.options import LoraOptions


class Lora(CandidateModule):
    """W x + (α / r) · B A x with A: (r, d) and B: (d, r) for query and value each.

    Starts at A Kaiming-uniform, B = 0: the encoder is unchanged, and so ∂L/∂A = 0 there, since A
    acts through B alone. Only B's gradient speaks in a Fisher table measured at the start.
    """

    kind = ModuleKind.LORA
    starts_as_identity = True

    def __init__(
        self, layer: int, hidden: int, options: LoraOptions, generator: Generator | None = None
    ) -> None:
        super().__init__(layer)
        self.scale = options.alpha / options.rank
        self.dropout = nn.Dropout(options.dropout)
        self.query_a = nn.Parameter(torch.empty(options.rank, hidden))
        self.query_b = nn.Parameter(torch.zeros(hidden, options.rank))
        self.value_a = nn.Parameter(torch.empty(options.rank, hidden))
        self.value_b = nn.Parameter(torch.zeros(hidden, options.rank))
        for a in (self.query_a, self.value_a):  # nn.Linear's start, as in the authors' code
            nn.init.kaiming_uniform_(a, a=math.sqrt(5), generator=generator)

    def delta(self, projection: str, x: Tensor) -> Tensor:
        """(α / r) · B A x for `query` or `value`; x and the result are (B, T, d)."""
        tensors = self.tensors()
        a, b = tensors[f"{projection}_a"], tensors[f"{projection}_b"]
        return (self.dropout(x) @ a.mT @ b.mT) * self.scale

    def update(self, projection: str) -> Tensor:
        """(α / r) · B A, the (d, d) change of the projection's weight."""
        a, b = getattr(self, f"{projection}_a"), getattr(self, f"{projection}_b")
        return (b @ a) * self.scale

    def _attach(self, ports: LayerPorts) -> None:
        for name, port in (("query", ports.query), ("value", ports.value)):
            self._hook(port.linear.register_forward_hook(partial(self._add, name, port)))

    def _add(
        self, name: str, port: Projection, _: nn.Module, inputs: tuple[Any, ...], output: Tensor
    ) -> Tensor:
        return port.add(output, self.delta(name, inputs[0]))
