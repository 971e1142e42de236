"""Gates: how much of a module a text gets (UniPELT, Mao et al. 2022, §3.2)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.utils.hooks import RemovableHandle

from fishpal.encoders.ports import LayerPorts
from fishpal.modules.per_thread import PerThread

STD = 0.02  # of the start of weights, as of all of BERT's


class Gate(nn.Module):
    """g = mean over a text's tokens of σ(w · h + b), with h (B, T, d) the layer's input.

    The authors' code takes the mean over padding, too, so that a text's gate hangs on its batch's
    longest one; here it does not. They give an adapter the feed-forward block's input instead.

    Attributes:
        value: (B, 1, 1), while the layer computes.
    """

    value: PerThread[Tensor]

    def __init__(self, width: int, generator: Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width).normal_(0, STD, generator=generator))
        self.bias = nn.Parameter(torch.zeros(1))
        self.value, self._mask = PerThread(), PerThread[Tensor | None]()

    def hooks(
        self, ports: LayerPorts, tensors: Callable[[], dict[str, Tensor]]
    ) -> list[RemovableHandle]:
        """Put it to work at a layer; `tensors` gives what the forward is to compute with."""

        def see(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
            self._mask.put(named.get("attention_mask"))

        def open_(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
            hidden = inputs[0] if inputs else named["hidden_states"]
            found = tensors()
            mask = self._mask.get()
            self.value.put(gate(hidden, mask, found["gate.weight"], found["gate.bias"]))

        def close(*_: Any) -> None:
            self.value.take()  # and with it the graph

        return [
            ports.model.register_forward_pre_hook(see, with_kwargs=True),
            ports.layer.register_forward_pre_hook(open_, with_kwargs=True),
            ports.layer.register_forward_hook(close),
        ]


def gate(hidden: Tensor, mask: Tensor | None, weight: Tensor, bias: Tensor) -> Tensor:
    """(B, 1, 1) from (B, T, d), a mask (B, T) of tokens, w (d) or (B, d), and b (1) or (B, 1)."""
    opened = torch.sigmoid(hidden @ weight.unsqueeze(-1) + bias.unsqueeze(-1))
    if mask is None:
        return opened.mean(dim=1, keepdim=True)
    shown = mask.to(opened.dtype).unsqueeze(-1)
    return (opened * shown).sum(dim=1, keepdim=True) / shown.sum(dim=1, keepdim=True)
