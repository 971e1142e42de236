"""What all kinds share: the per-example axis, attaching and detaching.

Layout, here and in the Fisher engine: a tensor of a module is (…), and with the example axis
(B, …). A forward written with matrix products that broadcast over leading axes serves both: with
(B, …) tensors the products become batched ones, example by example, and the gradient of the
summed loss with respect to such a leaf holds every example's own gradient.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from torch import Generator, Tensor, nn
from torch.utils.hooks import RemovableHandle

from fishpal.common.errors import AttachError
from fishpal.common.kinds import ModuleKind, Site
from fishpal.encoders.ports import LayerPorts, LayerShape
from fishpal.modules.gate import Gate

Watcher = Callable[[str, Tensor], None]


class CandidateModule(nn.Module, ABC):
    """One kind at one layer.

    Attributes:
        layer: index of the encoder's layer that the module belongs to.
        size: of its own; None: the one that its kind is configured with.
        gate: how much of it a text gets, where it has one.
        starts_as_identity: a fresh module leaves the encoder's output exactly as it is.
    """

    kind: ClassVar[ModuleKind]
    starts_as_identity: ClassVar[bool] = False

    def __init__(self, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.size: int | None = None
        self.gate: Gate | None = None
        self._detachers: list[Callable[[], None]] = []
        self._handles: list[RemovableHandle] = []
        self._leaves: dict[str, Tensor] | None = None
        self._watcher: Watcher | None = None

    def kept(self) -> dict[str, Tensor]:
        """The tensors that stay at inference, by name; differentiable in the parameters."""
        return dict(self.named_parameters())

    def load_kept(self, tensors: dict[str, Tensor]) -> None:
        """Take over tensors that `kept` gave; drops what only training needed."""
        self.load_state_dict(tensors)

    def rate_ratios(self) -> dict[str, float]:
        """Parameter → its learning rate over the kind's, where they differ."""
        return {}

    def merge(self, ports: LayerPorts) -> bool:
        """Change a layer's own weights by what the module does; False where that cannot be."""
        return False

    def gated(self, x: Tensor) -> Tensor:
        """x (…, T, d) times the text's gate, (B, T, d), or as it is without one."""
        if self.gate is None:
            return x
        return x * self.gate.value.get()

    def _add_gate(self, wanted: bool, shape: LayerShape, generator: Generator) -> None:
        """After all that the module draws itself, so that it starts the same with and without."""
        if wanted:
            self.gate = Gate(shape.sites[Site.QUERY].inputs, generator)

    @abstractmethod
    def _attach(self, ports: LayerPorts) -> None:
        """Register hooks at a layer, each with its way back in `_detachers`."""

    @property
    def by_example(self) -> bool:
        """Within `per_example`."""
        return self._leaves is not None

    def tensors(self) -> dict[str, Tensor]:
        """What the forward computes with: `kept()`, or leaves (B, …) within `per_example`."""
        return self.kept() if self._leaves is None else self._leaves

    @contextmanager
    def per_example(self, batch: int) -> Iterator[dict[str, Tensor]]:
        """Compute with one copy of every kept tensor an example, as leaves (B, …) to differentiate.

        The copies share memory (stride 0); only their gradients take B times the space.
        """
        self._leaves = {
            name: tensor.detach().expand(batch, *tensor.shape).requires_grad_()
            for name, tensor in self.kept().items()
        }
        try:
            yield self._leaves
        finally:
            self._leaves = None

    @contextmanager
    def watched_by(self, watcher: Watcher) -> Iterator[None]:
        """Within the block it is told, by name, what each second map of the module reads."""
        self._watcher = watcher
        try:
            yield
        finally:
            self._watcher = None

    def _seen(self, name: str, inner: Tensor) -> Tensor:
        """The same (…, T, width), told to who watches."""
        if self._watcher is not None:
            self._watcher(name, inner.detach())
        return inner

    def attach(self, ports: LayerPorts, held: "list[CandidateModule]") -> None:
        """Put the module to work at a layer, and into `held` for as long as it is there.

        `AttachError` where it is attached already, or the layer cannot take its kind.
        """
        if self._detachers:
            raise AttachError(f"{self.kind} of layer {self.layer} is attached already")
        for handle in [] if self.gate is None else self.gate.hooks(ports, self.tensors):
            self._hook(handle)
        self._attach(ports)
        held.append(self)
        self._detachers.append(lambda: held.remove(self))

    def detach(self) -> None:
        """Leave the layer exactly as it was; nothing to do where it is not attached."""
        while self._detachers:
            self._detachers.pop()()
        self._handles.clear()

    def hooks(self) -> list[RemovableHandle]:
        """Those that it has in the encoder."""
        return list(self._handles)

    def __getstate__(self) -> dict[str, Any]:
        """Of a copy, which is attached nowhere: the encoder's hooks are this one's alone."""
        return vars(self) | {
            "_detachers": [], "_handles": [], "_leaves": None, "_watcher": None,
        }  # fmt: skip

    def _hook(self, handle: RemovableHandle) -> None:
        self._handles.append(handle)
        self._detachers.append(handle.remove)

    @property
    def kept_parameters(self) -> int:
        """Parameters that stay at inference."""
        return sum(tensor.numel() for tensor in self.kept().values())


def rows(bias: Tensor) -> Tensor:
    """A bias (b) or (B, b) as (1, b) or (B, 1, b), to be added to (B, T, b)."""
    return bias.unsqueeze(-2)
