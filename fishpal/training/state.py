"""What a checkpoint holds of a training beside its tensors."""

from dataclasses import dataclass
from typing import Any

from fishpal.common.validate import Strict
from fishpal.models.calibration import Calibration
from fishpal.records.results import CurvePoint


@dataclass(frozen=True)
class RunState(Strict):
    """What a checkpoint holds beside tensors, after `update` updates.

    Attributes:
        rates: the current learning rate of every parameter group.
        schedule, scaler: `state_dict` of torch's schedule and, in float16, of its gradient scaler.
        spread: of the untrained model (`fishpal.training.collapse`).
    """

    update: int
    rates: tuple[float, ...]
    schedule: dict[str, Any]
    scaler: dict[str, Any]
    curve: tuple[CurvePoint, ...]
    best_update: int
    calibration: Calibration
    spread: float | None
