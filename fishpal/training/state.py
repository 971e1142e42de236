"""What a checkpoint holds of a training, or of a pilot, beside its tensors."""

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


@dataclass(frozen=True)
class ArmState(Strict):
    """What a checkpoint holds of one of the pilot's arms.

    Attributes:
        run: a `RunState`.
        alive: it is still in the race.
        steps: of the average of its weights.
    """

    run: dict[str, Any]
    alive: bool
    diverged: bool
    rate_share: float
    steps: int


@dataclass(frozen=True)
class RaceState(Strict):
    """What a checkpoint holds of a pilot after a look at `done` updates; `spent` are all arms'."""

    done: int
    spent: int
    arms: tuple[ArmState, ...]
