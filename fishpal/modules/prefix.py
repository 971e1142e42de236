"""Prefix: trained keys and values in front of a layer's own (Li & Liang 2021)."""

import torch
from torch import Generator, Tensor, nn

from fishpal.common.errors import AttachError
from fishpal.common.kinds import ModuleKind, Site
from fishpal.encoders.attention import PREFIXES
from fishpal.encoders.ports import LayerPorts, LayerShape
from fishpal.modules.base import CandidateModule
from fishpal.params.module_options import ModuleOptions

KEPT = ("key", "value")


class Prefix(CandidateModule):
    """Keys and values, (p, d) each, that every token of the layer can attend to.

    d is the width of the layer's own keys, which grouped queries make smaller than the hidden one.

    With `reparameterize` they are, in training, an MLP's output: (p, d) → tanh → (p, mid) →
    (p, 2 d), one MLP a layer, dropped afterwards (Li & Liang 2021, §4.3). The Fisher table
    measures keys and values themselves either way, at the start that the MLP gives them.

    Attributes:
        starts_from_text: `start_from` is still to be called (`fishpal.models.prefix_text`), before
            anything but `load_kept`. What is drawn at random is drawn all the same, so that a gate
            starts the same.
    """

    kind = ModuleKind.PREFIX

    def __init__(
        self, layer: int, shape: LayerShape, modules: ModuleOptions, generator: Generator
    ) -> None:
        super().__init__(layer)
        options, width = modules.prefix, shape.sites[Site.KEY].outputs
        self.starts_from_text = options.start == "text"
        self.mlp: nn.Sequential | None = None
        start = torch.empty(2, options.length, width).normal_(0, options.std, generator=generator)
        if options.reparameterize:
            self.embedding = nn.Parameter(start[0])
            self.mlp = nn.Sequential(
                nn.Linear(width, options.mid), nn.Tanh(), nn.Linear(options.mid, 2 * width)
            )
            for linear, inputs in ((self.mlp[0], width), (self.mlp[2], options.mid)):
                bound = inputs**-0.5  # nn.Linear's own start, drawn from `generator`
                for parameter in linear.parameters():
                    nn.init.uniform_(parameter, -bound, bound, generator=generator)
        else:
            self.key = nn.Parameter(start[0])
            self.value = nn.Parameter(start[1])
        self._add_gate(modules.gates, shape, generator)

    @torch.no_grad()
    def start_from(self, key: Tensor, value: Tensor) -> None:
        """Start from keys and values, (p, d) each."""
        self.key.copy_(key)
        self.value.copy_(value)

    def kept(self) -> dict[str, Tensor]:
        if self.mlp is None:
            return super().kept()
        key, value = self.mlp(self.embedding).chunk(2, dim=-1)
        gate = self.gate.named_parameters("gate") if self.gate else ()
        return dict(zip(KEPT, (key, value), strict=True)) | dict(gate)

    def load_kept(self, tensors: dict[str, Tensor]) -> None:
        if self.mlp is not None:
            self.mlp = None
            del self.embedding
        self.key, self.value = (nn.Parameter(torch.empty_like(tensors[n])) for n in KEPT)
        super().load_kept(tensors)

    def keys_values(self) -> tuple[Tensor, Tensor]:
        """Keys and values, (p, d) each, or (B, p, d) within `per_example` or with a gate."""
        tensors = self.tensors()
        return self.gated(tensors["key"]), self.gated(tensors["value"])

    def _attach(self, ports: LayerPorts) -> None:
        attention = ports.attention
        if attention in PREFIXES:
            raise AttachError(f"layer {self.layer} has a prefix already; allowed: one")
        PREFIXES[attention] = self
        self._detachers.append(lambda: PREFIXES.__delitem__(attention))
