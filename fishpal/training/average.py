"""An average of the weights on the way, as good as a rate that falls, at any time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

PLANNED = 64  # updates that the warm-up before it is a share of, whatever is planned
ETA = 3  # weighs update t of T by about (t / T)^3: mostly the last quarter


class Average:
    """The polynomial-decay average of weights (Shamir & Zhang 2013, §4, with their η = 3).

    A training at a constant rate wanders about the point that one whose rate falls comes to rest
    at; the average is near it, whenever one looks, and no length has to be planned.

    Args:
        parameters: what is trained; `update` after every step on them.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.parameters, self.steps = list(parameters), 0
        self.means = [parameter.detach().clone() for parameter in self.parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights of one more step in."""
        self.steps += 1
        for mean, parameter in zip(self.means, self.parameters, strict=True):
            mean.lerp_(parameter, (ETA + 1) / (self.steps + ETA))

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint holds of it, beside `steps`."""
        return {f"average/{number}": mean for number, mean in enumerate(self.means)}

    @torch.no_grad()
    def resume(self, tensors: dict[str, Tensor], steps: int) -> None:
        """Go back to what `tensors` gave after so many steps."""
        self.steps = steps
        for number, mean in enumerate(self.means):
            mean.copy_(tensors[f"average/{number}"])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The average stands in the parameters within the block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for number, parameter in enumerate(self.parameters):
            own = parameter.detach().clone()
            parameter.copy_(self.means[number])
            self.means[number] = own
