"""Several processes that share one piece of work, as torchrun starts them, through accelerate."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from fishpal.common.errors import ProcessError, brief

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """This process's `rank` among `count` of them; alone, where torchrun started no others.

    Every method that speaks of all processes has to be called by all, in the same order. It
    raises `ProcessError` where one of the others has ended.
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def started(cls, device: torch.device) -> Self:
        """Meet the processes that torchrun started for work on `device`s of this type."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        from accelerate import PartialState

        try:
            state = PartialState(cpu=device.type == "cpu")
        except RuntimeError as error:
            raise ProcessError(f"the processes did not meet: {brief(error, 160)}") from error
        return cls(state.process_index, state.num_processes)

    @property
    def main(self) -> bool:
        """The one process that writes."""
        return self.rank == 0

    def share(self, items: list[T]) -> list[T]:
        """This process's part; the parts differ by at most one in length."""
        return items[self.rank :: self.count]

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, to the same bits in each."""
        if self.count == 1:
            return tensor
        from accelerate import PartialState
        from accelerate.utils import reduce

        try:
            return reduce(tensor.to(PartialState().device), "sum").to(tensor.device)
        except RuntimeError as error:  # gloo's and NCCL's own are all of this type
            lost = f"process {self.rank} of {self.count} lost another one"
            raise ProcessError(f"{lost}: {brief(error, 160)}; start all of them again") from error

    def sum_gradients(self, parameters: Sequence[Tensor], loss: Tensor) -> Tensor:
        """Replace gradients by their sums over all processes; the sum of the `loss`es, a scalar.

        All that has a gradient in one process has to have one in every other.
        """
        if self.count == 1:
            return loss
        found = [p.grad for p in parameters if p.grad is not None]
        every = [*found, loss]
        sums = self.sum(torch.cat([tensor.flatten() for tensor in every]))
        parts = sums.split([tensor.numel() for tensor in every])
        for gradient, part in zip(found, parts, strict=False):
            gradient.copy_(part.view_as(gradient))
        return parts[-1][0]

    def as_main(self, holds: bool) -> bool:
        """What the main process found, in every process."""
        return bool(self.sum(torch.tensor(float(holds and self.main))))

    def seed(self, *parts: int) -> None:
        """Go on with random numbers of this process and these `parts` alone.

        No state of a stream has to be kept then. A process that is alone goes on with its stream.
        """
        if self.count > 1 and parts:
            words = np.random.SeedSequence((*parts, self.rank)).generate_state(1, np.uint64)
            torch.manual_seed(int(words[0] >> 1))  # it takes 63 bits


ALONE = Processes()
