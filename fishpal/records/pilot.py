"""What a pilot found before plans are chosen: how long to train, and which kind learns best."""

from dataclasses import dataclass
from typing import Annotated, Literal

from fishpal.common.checks import Positive, at_least
from fishpal.common.errors import PlanError
from fishpal.common.validate import Strict
from fishpal.records.record import JsonRecord
from fishpal.records.results import CurvePoint

Source = Literal["updates", "epochs", "pilot"]


@dataclass(frozen=True)
class Arm(Strict):
    """One candidate everywhere, trained at a constant rate until it was dropped or was the last.

    Attributes:
        kind: the candidate's word (`common.choices`).
        diverged: its loss stopped being finite, at the update after its curve's last.
    """

    kind: str
    rate: Positive
    curve: tuple[CurvePoint, ...]
    diverged: bool = False

    @property
    def best(self) -> float:
        """Lowest loss on the selection part."""
        return min(point.selection_loss for point in self.curve)

    @property
    def updates(self) -> int:
        """How long it was trained."""
        return self.curve[-1].update


@dataclass(frozen=True)
class Pilot(JsonRecord):
    """`artifacts/pilot/<task>.json`.

    Attributes:
        updates: of every training of the task.
        source: who says so: `train.updates`, `train.epochs`, or the pilot.
        constant_loss: on the selection part, of the best constant answer of the fit part.
        arms: of a pilot that ran.
    """

    updates: Annotated[int, at_least(1)]
    source: Source
    constant_loss: float
    arms: tuple[Arm, ...] = ()

    def best_kind(self) -> str:
        """The arm of the lowest selection loss, the first of equals; `PlanError` without arms."""
        if not self.arms:
            what = "rule race: the pilot had no arms; allowed: train.pilot true"
            raise PlanError(what)
        return min(self.arms, key=lambda arm: arm.best).kind
