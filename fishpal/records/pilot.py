"""What a pilot found before plans are chosen: how long to train, and which kind learns best."""

from dataclasses import dataclass
from typing import Annotated, Literal

from fishpal.common.checks import Positive, at_least
from fishpal.common.choices import Choices
from fishpal.common.errors import PlanError
from fishpal.common.validate import Strict
from fishpal.records.record import JsonRecord
from fishpal.records.results import CurvePoint, lowest_loss

LEARNT = 0.05  # share of the constant answer's loss that has to be gone: more than a look's noise
Source = Literal["updates", "epochs", "pilot"]


def has_learnt(loss: float, constant: float) -> bool:
    """Whether a selection loss is below the constant answer's by more than noise."""
    return loss < (1 - LEARNT) * constant


@dataclass(frozen=True)
class Arm(Strict):
    """One plan, trained at a constant rate until it was dropped or was the last.

    Where it collapsed, it went on at a third of it: `rate` and `factor` are those of its end.

    Attributes:
        kind: the word of a candidate (`common.choices`) that every layer has, or the criterion
            that chose the `layers`, which are None of a candidate.
        diverged: its loss stopped being finite, at the update after its curve's last.
        factor: of the kind's own rate.
    """

    kind: str
    rate: Positive
    curve: tuple[CurvePoint, ...]
    diverged: bool = False
    factor: Positive = 1.0
    layers: Choices | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if all(point.collapsed for point in self.curve):
            raise PlanError("curve: has no look that had not collapsed; allowed: one or more")

    @property
    def best(self) -> float:
        """Lowest loss on the selection part, as checkpoints are compared."""
        return lowest_loss(self.curve)

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
        flat: where the pilot found the length, whether the last arm's loss had become flat, or
            `train.max_updates` ended it.
        averaged: trainings are as the arms', at their rates (`train.schedule`).
    """

    updates: Annotated[int, at_least(1)]
    source: Source
    constant_loss: float
    arms: tuple[Arm, ...] = ()
    flat: bool = True
    averaged: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.arms and not self.raced():
            raise PlanError("arms: none raced to its end; allowed: one or more")

    @property
    def planned(self) -> int | None:
        """The updates that a falling rate is planned for; None of a constant one."""
        return None if self.averaged else self.updates

    @property
    def learnt(self) -> bool:
        """Whether an arm did, beyond the constant answer."""
        losses = [arm.best for arm in self.arms if not arm.diverged]
        return has_learnt(min(losses, default=self.constant_loss), self.constant_loss)

    def winner(self) -> Arm:
        """The arm of the lowest selection loss, the first of equals, of those that did not diverge;
        `PlanError` without arms."""
        if not self.arms:
            what = "rule race: the pilot had no arms; allowed: train.pilot true"
            raise PlanError(what)
        return min(self.raced(), key=lambda arm: arm.best)

    def raced(self) -> list[Arm]:
        """The arms that did not diverge."""
        return [arm for arm in self.arms if not arm.diverged]
