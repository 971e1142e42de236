"""Which precision passes run in, and frozen weights cast to it once instead of every pass."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from fishpal.common.errors import ParamsError
from fishpal.encoders.ports import LINEAR
from fishpal.models.classifier import Classifier
from fishpal.records.facts import Precision

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# torch's names of the instruction sets that multiply bfloat16; other CPUs emulate it, slowly.
NATIVE = ("avx512_bf16", "amx_bf16")


@contextmanager
def single_by_default() -> Iterator[None]:
    """Within the block new parameters are float32, whatever a caller has made torch's default."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def pick_precision(precision: str, device: torch.device, key: str) -> Precision:
    """What is used; `auto` is the lowest that the device computes natively and training bears.

    A GPU's is bfloat16 or float16, a CPU's bfloat16 or float32. `ParamsError` names `key` where it
    asks for float16 on a CPU.
    """
    if precision == "float16" and device.type == "cpu":
        allowed = "auto, bfloat16, float32"
        raise ParamsError(f"{key} is float16 on a CPU; allowed there: {allowed}")
    if precision in DTYPES:
        return precision  # type: ignore[return-value]
    if device.type == "cpu":
        has = torch.cpu.get_capabilities()
        return "bfloat16" if any(has.get(name, False) for name in NATIVE) else "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"


def evaluation_precision(wanted: str, trained: Precision, device: torch.device) -> Precision:
    """That of training, where it is `trained` that is wanted and the device computes it natively;
    else float32."""
    native = pick_precision("auto", device, "evaluate.precision")
    return trained if wanted == "trained" and trained == native else "float32"


@contextmanager
def casting(device: str, dtype: torch.dtype) -> Iterator[None]:
    """autocast to a dtype, or none to float32, that keeps no cast weights beyond the block.

    It keeps those of trained weights until the outermost block of autocast ends, which may be a
    caller's: passes after an update would go on with the weights before it.
    """
    torch.clear_autocast_cache()
    try:
        with torch.autocast(device, dtype, dtype != torch.float32):
            yield
    finally:
        torch.clear_autocast_cache()


class Passes:
    """Forward passes of a model in one precision.

    Autocast casts what a product takes at every use, and keeps weights for one pass at most, and
    these only where they are trained. Here the encoder's frozen linears get copies of their own
    weights, cast as autocast casts them and so to the same bits, for as long as a pass takes.
    """

    def __init__(self, model: Classifier, precision: Precision) -> None:
        self.device, self.dtype = model.head.weight.device.type, DTYPES[precision]
        self._own: list[tuple[nn.Module, dict[str, nn.Parameter]]] = []
        if precision != "float32":
            for part in model.encoder.modules():
                if isinstance(part, LINEAR) and not part.weight.requires_grad:
                    own = dict(part.named_parameters(recurse=False))
                    cast = {n: nn.Parameter(p.to(self.dtype), False) for n, p in own.items()}
                    self._own.append((part, cast))

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Compute in this precision within the block; backward passes belong outside it."""
        self._swap()
        try:
            with casting(self.device, self.dtype):
                yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for number, (part, others) in enumerate(self._own):
            mine = dict(part.named_parameters(recurse=False))
            for name, parameter in others.items():
                setattr(part, name, parameter)
            self._own[number] = (part, mine)
