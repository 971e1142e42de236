"""(IA)³: learned scales of activations (Liu et al. 2022, §3.3)."""

from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor, nn

from fishpal.common.kinds import ModuleKind, Site
from fishpal.encoders.ports import LayerPorts, LayerShape, Projection
from fishpal.modules.base import CandidateModule, rows
from fishpal.params.module_options import ModuleOptions

SCALED = (Site.KEY, Site.VALUE)


class Ia3(CandidateModule):
    """Keys, values and the feed-forward block's inner activations times 1 + s; starts at s = 0.

    The authors' vectors are l = 1 + s.
    """

    kind = ModuleKind.IA3
    starts_as_identity = True

    def __init__(self, layer: int, shape: LayerShape, _: ModuleOptions, __: Generator) -> None:
        super().__init__(layer)
        self.key = nn.Parameter(torch.zeros(shape.sites[Site.KEY].outputs))
        self.value = nn.Parameter(torch.zeros(shape.sites[Site.VALUE].outputs))
        self.feed_forward = nn.Parameter(torch.zeros(shape.sites[Site.DOWN].inputs))

    def merge(self, ports: LayerPorts) -> bool:
        for site in SCALED:
            scale, port = 1 + self.get_parameter(site), ports.sites[site]
            port.weight.mul_(scale.unsqueeze(-1))
            if port.bias is not None:
                port.bias.mul_(scale)
        ports.sites[Site.DOWN].weight.mul_(1 + self.feed_forward)
        return True

    def _attach(self, ports: LayerPorts) -> None:
        for site in SCALED:
            port = ports.sites[site]
            self._hook(port.linear.register_forward_hook(partial(self._scale, site, port)))
        self._hook(ports.sites[Site.DOWN].linear.register_forward_pre_hook(self._scale_input))

    def _scale(
        self, site: Site, port: Projection, _: nn.Module, __: tuple[Any, ...], output: Tensor
    ) -> Tensor:
        return port.add(output, output[..., port.rows] * rows(self.tensors()[site]))

    def _scale_input(self, _: nn.Module, inputs: tuple[Any, ...]) -> Tensor:
        x: Tensor = inputs[0]
        return x + x * rows(self.tensors()["feed_forward"])
