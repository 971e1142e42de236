"""LoRA on a layer's projections (Hu et al. 2022, §4.2)."""

import math
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor, nn

from fishpal.common.errors import AttachError
from fishpal.common.kinds import ModuleKind, Site
from fishpal.encoders.ports import LayerPorts, LayerShape, Projection
from fishpal.modules.base import CandidateModule
from fishpal.params.module_options import ModuleOptions


class Lora(CandidateModule):
    """W x + c · B A x with A: (r, d_in) and B: (d_out, r) for each site; c = α / r, or α / √r.

    Starts at A Kaiming-uniform, B = 0: the encoder is unchanged, and so ∂L/∂A = 0 there, since A
    acts through B alone. Only B's gradient speaks in a Fisher table measured at the start.
    """

    kind = ModuleKind.LORA
    starts_as_identity = True

    def __init__(
        self, layer: int, shape: LayerShape, modules: ModuleOptions, generator: Generator
    ) -> None:
        super().__init__(layer)
        options = modules.lora
        wanted = tuple(shape.sites) if options.sites == "all" else options.sites
        if unknown := [site for site in wanted if site not in shape.sites]:
            allowed = ", ".join(shape.sites)
            raise AttachError(f"lora.sites is {unknown[0]}; allowed in this encoder: {allowed}")
        self.sites = tuple(site for site in Site if site in wanted)
        self.scale = options.alpha / (math.sqrt(options.rank) if options.rslora else options.rank)
        self.rate_ratio = options.rate_ratio
        self.dropout = nn.Dropout(options.dropout)
        for site in self.sites:
            inputs, outputs = shape.sites[site]
            a = nn.Parameter(torch.empty(options.rank, inputs))
            nn.init.kaiming_uniform_(a, a=math.sqrt(5), generator=generator)  # nn.Linear's start
            self.register_parameter(f"{site}_a", a)
            self.register_parameter(f"{site}_b", nn.Parameter(torch.zeros(outputs, options.rank)))
        self._add_gate(modules.gates, shape, generator)

    def delta(self, site: Site, x: Tensor) -> Tensor:
        """c · B A x of a site; x is (B, T, d_in), the result (B, T, d_out)."""
        tensors = self.tensors()
        a, b = tensors[f"{site}_a"], tensors[f"{site}_b"]
        # A narrow B's gradient takes six times as long by columns as by rows (MKL, rank 8).
        return self._seen(site, self.dropout(x) @ a.mT) @ (b * self.scale).mT.contiguous()

    def factors(self, site: Site) -> tuple[Tensor, Tensor]:
        """A and B of a site."""
        return self.get_parameter(f"{site}_a"), self.get_parameter(f"{site}_b")

    def rate_ratios(self) -> dict[str, float]:
        return {f"{site}_b": self.rate_ratio for site in self.sites}

    def merge(self, ports: LayerPorts) -> bool:
        if self.gate is not None:
            return False
        for site in self.sites:
            a, b = self.factors(site)
            ports.sites[site].weight.add_((b @ a) * self.scale)
        return True

    def _attach(self, ports: LayerPorts) -> None:
        for site in self.sites:
            port = ports.sites[site]
            self._hook(port.linear.register_forward_hook(partial(self._add, site, port)))

    def _add(
        self, site: Site, port: Projection, _: nn.Module, inputs: tuple[Any, ...], output: Tensor
    ) -> Tensor:
        return port.add(output, self.gated(self.delta(site, inputs[0])))
