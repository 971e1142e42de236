"""The places in each layer of an encoder where a module can attach."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from torch import Tensor, nn
from torch.nn import functional as F
from transformers.pytorch_utils import Conv1D

from fishpal.common.errors import EncoderError
from fishpal.common.kinds import Site
from fishpal.encoders.specs import spec_of

LINEAR = (nn.Linear, Conv1D)
"""What a projection can be; GPT-2's Conv1D is a linear whose weight is (d_in, d_out)."""
WITH_BIAS = (*LINEAR, nn.LayerNorm)


class Width(NamedTuple):
    """Of a projection's input and output."""

    inputs: int
    outputs: int


@dataclass(frozen=True)
class LayerShape:
    """What the sizes of a layer's modules depend on.

    Attributes:
        sites: the width of every projection that the layer has.
        biases: name of a bias → its width.
    """

    sites: Mapping[Site, Width]
    biases: Mapping[str, int]


@dataclass(frozen=True)
class Projection:
    """A linear, or one of several equal parts of a fused one's outputs.

    Attributes:
        linear: maps (…, d_in) to (…, parts · d).
        name: its path below the encoder, as `peft` wants it.
        part: which d of the outputs are this projection's.
    """

    linear: nn.Module
    name: str
    part: int = 0
    parts: int = 1

    @property
    def width(self) -> Width:
        outputs, inputs = self._whole.shape
        return Width(inputs, outputs // self.parts)

    @property
    def rows(self) -> slice:
        """This projection's rows of the linear's weight."""
        width = self.width.outputs
        return slice(self.part * width, (self.part + 1) * width)

    @property
    def weight(self) -> Tensor:
        """(d, d_in), a view."""
        return self._whole[self.rows]

    @property
    def bias(self) -> Tensor | None:
        """(d), a view; None where the linear has none."""
        bias = cast(Tensor | None, self.linear.bias)
        return None if bias is None else bias[self.rows]

    @property
    def _whole(self) -> Tensor:
        weight = cast(Tensor, self.linear.weight)
        return weight.T if isinstance(self.linear, Conv1D) else weight

    def add(self, output: Tensor, delta: Tensor) -> Tensor:
        """Output (B, T, parts · d) plus delta (B, T, d) on this projection's part."""
        if self.parts == 1:
            return output + delta
        width = delta.shape[-1]
        before = self.part * width
        return output + F.pad(delta, (before, output.shape[-1] - before - width))


@dataclass(frozen=True)
class LayerPorts:
    """The places of one layer of a model; roles as in `EncoderSpec`.

    Attributes:
        biased: name → a part of the layer that adds a bias to its output.
    """

    model: nn.Module
    layer: nn.Module
    attention: nn.Module
    sites: Mapping[Site, Projection]
    biased: Mapping[str, nn.Module]

    @property
    def shape(self) -> LayerShape:
        biases = {name: cast(Tensor, part.bias).numel() for name, part in self.biased.items()}
        return LayerShape({site: p.width for site, p in self.sites.items()}, biases)


def config_of(model: nn.Module) -> Any:
    """The model's config; `nn.Module` alone does not promise one."""
    return model.config


def layers_of(model: nn.Module) -> nn.ModuleList:
    """Its layers, from the bottom up; `EncoderError` as `ports_of`."""
    return cast(nn.ModuleList, _submodule(model, spec_of(config_of(model)).layers))


def ports_of(model: nn.Module) -> list[LayerPorts]:
    """Every layer's ports; `EncoderError` where a model is unsupported, or not as its type is."""
    spec = spec_of(config_of(model))
    paths = [path for _, path in spec.sites]
    ports = []
    for index, layer in enumerate(layers_of(model)):
        sites, seen = {}, dict.fromkeys(paths, 0)
        for site, path in spec.sites:  # a fused one makes query, key, value in this order
            name, parts = f"{spec.layers}.{index}.{path}", paths.count(path)
            sites[site] = Projection(_linear(layer, path), name, seen[path], parts)
            seen[path] += 1
        biased = {
            name.replace(".", "_"): part  # torch takes no parameter with a dot in its name
            for name, part in layer.named_modules()
            if isinstance(part, WITH_BIAS) and part.bias is not None
        }
        ports.append(LayerPorts(model, layer, _submodule(layer, spec.attention), sites, biased))
    return ports


def _submodule(module: nn.Module, path: str) -> nn.Module:
    try:
        return module.get_submodule(path)
    except AttributeError as error:
        raise EncoderError(f"encoder: has no '{path}', where its type keeps it") from error


def _linear(layer: nn.Module, path: str) -> nn.Module:
    found = _submodule(layer, path)
    if not isinstance(found, LINEAR):
        raise EncoderError(f"encoder: '{path}' is {type(found).__name__}; allowed: Linear")
    return found
