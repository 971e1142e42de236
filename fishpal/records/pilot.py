"""What a pilot found before plans are chosen: how long to train, and which kind learns best."""

from dataclasses import dataclass
from typing import Annotated, Literal

from fishpal.common.checks import Positive, at_least
from fishpal.common.errors import PlanError
from fishpal.common.validate import Strict
from fishpal.records.record import JsonRecord
from fishpal.records.results import CurvePoint

CONFIDENCE = 0.95
Source = Literal["updates", "epochs", "pilot"]


@dataclass(frozen=True)
class Arm(Strict):
    """One candidate everywhere, trained at a constant rate until it was dropped or was the last.

    Attributes:
        kind: the candidate's word (`common.choices`).
        diverged: its loss stopped being finite, at the update after its curve's last.
        factor: of the kind's own rate.
        share: of the kind's size; below 1 for what was trained after the race, as long as its
            winner was.
        kept: parameters that the modules keep.
        behind: upper end of the one-sided interval (`CONFIDENCE`) of how much more loss it has on
            the selection part than the winner, both at their best; of smaller arms alone.
    """

    kind: str
    rate: Positive
    curve: tuple[CurvePoint, ...]
    diverged: bool = False
    factor: Positive = 1.0
    share: Positive = 1.0
    kept: int = 0
    behind: float | None = None

    @property
    def best(self) -> float:
        """Lowest loss on the selection part, as checkpoints are compared."""
        return min(point.pick_loss for point in self.curve)

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
    """

    updates: Annotated[int, at_least(1)]
    source: Source
    constant_loss: float
    arms: tuple[Arm, ...] = ()
    flat: bool = True

    def winner(self) -> Arm:
        """The arm of the lowest selection loss, the first of equals, of those that did not diverge;
        `PlanError` without arms."""
        if not self.arms:
            what = "rule race: the pilot had no arms; allowed: train.pilot true"
            raise PlanError(what)
        raced = [arm for arm in self.arms if arm.share == 1 and not arm.diverged]
        return min(raced, key=lambda arm: arm.best)

    def smallest(self, margin: float) -> Arm:
        """The smallest arm that loses at most `margin` against the winner, or the winner.

        Raises:
            PlanError: where the pilot trained no smaller arm.
        """
        winner = self.winner()
        smaller = [arm for arm in self.arms if arm.share < 1]
        if not smaller:
            what = "rule race: margin is set, and the pilot trained no smaller arm"
            allowed = "shares in train.race.smaller, and a train.max_updates that affords them"
            raise PlanError(f"{what}; allowed: {allowed}")
        fit = [arm for arm in smaller if arm.behind is not None and arm.behind <= margin]
        return min(fit, key=lambda arm: arm.share, default=winner)
