"""Bottleneck adapter at the feed-forward block (Houlsby et al. 2019; parallel: He et al. 2022)."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from fishpal.common.kinds import ModuleKind, Site
from fishpal.encoders.ports import LayerPorts, LayerShape
from fishpal.modules.base import CandidateModule, rows
from fishpal.modules.per_thread import PerThread
from fishpal.params.module_options import ModuleOptions

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]]
ACTIVATIONS = {"relu": F.relu, "gelu": F.gelu, "tanh": torch.tanh}


class Adapter(CandidateModule):
    """h + U σ(D x + d) + u with D: (b, d) and U: (d, b), before the residual is added.

    `sequential`: x = h, the block's output. `parallel`: x is the block's input.
    Starts at U = 0, u = 0: the encoder is unchanged, and ∂L/∂D = 0 there.
    """

    kind = ModuleKind.ADAPTER
    starts_as_identity = True

    def __init__(
        self, layer: int, shape: LayerShape, modules: ModuleOptions, generator: Generator
    ) -> None:
        super().__init__(layer)
        options, hidden = modules.adapter, shape.sites[Site.DOWN].outputs
        self.parallel = options.placement == "parallel"
        self.activation = ACTIVATIONS[options.activation]
        self.dropout = nn.Dropout(options.dropout)
        self.down = nn.Parameter(torch.empty(options.bottleneck, hidden))
        self.down_bias = nn.Parameter(torch.zeros(options.bottleneck))
        self.up = nn.Parameter(torch.zeros(hidden, options.bottleneck))
        self.up_bias = nn.Parameter(torch.zeros(hidden))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5), generator=generator)
        self._add_gate(modules.gates, shape, generator)
        self._input = PerThread[Tensor]()

    def delta(self, x: Tensor) -> Tensor:
        """U σ(D x + d) + u; x and the result are (B, T, d)."""
        t = self.tensors()
        inner = self._seen("up", self.activation(x @ t["down"].mT + rows(t["down_bias"])))
        return self.dropout(inner) @ t["up"].mT + rows(t["up_bias"])

    def _attach(self, ports: LayerPorts) -> None:
        if self.parallel:
            self._hook(ports.sites[Site.UP].linear.register_forward_pre_hook(self._remember))
        self._hook(ports.sites[Site.DOWN].linear.register_forward_hook(self._add))

    def _remember(self, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._input.put(inputs[0])

    def _add(self, _: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        x = self._input.take() if self.parallel else output
        assert x is not None
        return output + self.gated(self.delta(x))
