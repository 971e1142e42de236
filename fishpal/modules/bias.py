"""BitFit: changes of a layer's own biases (Ben Zaken et al. 2022)."""

from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor, nn

from fishpal.common.errors import AttachError
from fishpal.common.kinds import ModuleKind
from fishpal.encoders.ports import LayerPorts, LayerShape
from fishpal.modules.base import CandidateModule, rows
from fishpal.params.module_options import ModuleOptions


class Bias(CandidateModule):
    """b + δ for every bias b of the layer: of its linears and its layer norms. Starts at δ = 0."""

    kind = ModuleKind.BIAS
    starts_as_identity = True

    def __init__(self, layer: int, shape: LayerShape, _: ModuleOptions, __: Generator) -> None:
        super().__init__(layer)
        if not shape.biases:
            what = f"layer {layer}: bias cannot attach, since the layer has none"
            raise AttachError(f"{what}; allowed: the other kinds (set fisher.kinds to these)")
        for name, width in shape.biases.items():
            self.register_parameter(name, nn.Parameter(torch.zeros(width)))

    def merge(self, ports: LayerPorts) -> bool:
        for name, delta in self.named_parameters():
            bias = ports.biased[name].bias
            assert isinstance(bias, Tensor)
            bias.add_(delta)
        return True

    def _attach(self, ports: LayerPorts) -> None:
        for name, part in ports.biased.items():
            self._hook(part.register_forward_hook(partial(self._add, name)))

    def _add(self, name: str, _: nn.Module, __: tuple[Any, ...], output: Tensor) -> Tensor:
        return output + rows(self.tensors()[name])
