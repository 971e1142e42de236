"""The pilot: how long a task's trainings have to be, and which kind learns best, found once.

Arms (one kind at every layer, each at its rate) train side by side at a constant rate, so that no
planned length shapes their losses, with looks at the selection part, by the average of their
weights (`fishpal.training.average`), at two points a doubling of the updates. One that collapses
goes on at a third of its rate (`fishpal.training.collapse`). Of a kind that races at several rates
one stays from the second look on. Once an arm has learnt, the worst one is dropped at every look
(successive halving, Jamieson & Talwalkar 2016, one at a time); the last one goes on until its loss
is flat.

Trainings are then twice as long as the last arm took to its best loss, at most as long as the
pilot: a rate that falls linearly to zero moves as far in them as a constant one in half of them.
Where they are averaged (`train.schedule`), they are as long as the last arm's, and its own is one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from fishpal.common.errors import TrainingError
from fishpal.common.progress import tqdm
from fishpal.common.validate import decode
from fishpal.models.classifier import Classifier
from fishpal.params.options import TrainOptions
from fishpal.records.examples import labels
from fishpal.records.pilot import Pilot, Source, has_learnt
from fishpal.records.plan import Plan
from fishpal.records.task import TokenisedTask
from fishpal.training.arm import TrainedArm
from fishpal.training.checkpoint import Checkpoint
from fishpal.training.looks import FIRST_LOOK, doubling
from fishpal.training.run import Training, TrainingRun
from fishpal.training.state import RaceState
from fishpal.training.train import fixed_updates, start_accelerator

FIRST_DROP = 64  # updates: two looks at every arm
FLAT = 0.01  # share of the constant answer's loss that a doubling has to take away to pay
SEED = 0  # of the stage's and the library's
COST = 2  # trainings of `max_updates` that a pilot may cost

StartModel = Callable[[Plan], Classifier]


@dataclass(frozen=True)
class Raced:
    """What a pilot found, and its last arm."""

    pilot: Pilot
    last: TrainedArm | None = None

    def trained(self, plan: Plan) -> tuple[Classifier, Training] | None:
        """The model and training that `train` would give of this plan with the pilot's seed and
        schedule averaged: the last arm's, where it is of this plan and did not collapse."""
        arm = self.last
        if arm is None or not self.pilot.averaged or not arm.trained_like(plan):
            return None
        arm.run.restore()
        return arm.run.model, arm.run.result


def run_pilot(
    start: StartModel,
    plans: Sequence[Plan],
    task: TokenisedTask,
    options: TrainOptions,
    seed: int = SEED,
    *,
    checkpoint: Checkpoint | None = None,
    progress: bool = True,
) -> Raced:
    """Find the number of updates of a task, in at most `COST` trainings of `max_updates`, or one
    and one update an arm where the arms outnumber its updates.

    A task whose loss stays near the constant answer's gets `max_updates`: many tasks of pairs
    learn nothing for the first hundred updates, and then all.

    Args:
        start: gives a fresh model of a plan, with an encoder of its own.
        plans: the arms, each of one kind at every layer.
        checkpoint: as in `train`, after a look.

    Raises:
        TrainingError: where every arm diverged.
    """
    floor, fixed = constant_loss(task), fixed_updates(options, len(task.fit))
    averaged = options.schedule == "averaged"
    source: Source = "updates" if options.epochs is None else "epochs"
    if fixed is not None and not options.has_pilot:
        return Raced(Pilot(fixed, source, floor, averaged=averaged))
    longest = fixed or options.max_updates
    constant = replace(options, schedule="averaged")

    def enter(plan: Plan) -> TrainedArm:
        accelerator = start_accelerator(options, seed)  # its own: float16's scale is an arm's
        model = start(plan).to(accelerator.device)
        run = TrainingRun(model, plan, task, constant, accelerator, longest)
        return TrainedArm(run, plan, task, options.batch_size, seed)

    arms = [enter(plan) for plan in plans]
    race = _Race(arms, floor, longest)
    state = checkpoint.load() if checkpoint else None
    if state and arms[0].run.computes_as(state[1]):
        race.resume(*state)
    silent = None if progress else True
    with tqdm(total=COST * longest, initial=race.spent, desc="pilot", disable=silent) as bar:
        race.run(bar, checkpoint)
    records = tuple(arm.record(_own_rate(arms, arm)) for arm in arms)
    found, flat = race.done if averaged else race.twice_the_best(), bool(fixed) or race.flat
    source = source if fixed else "pilot"
    pilot = Pilot(fixed or found, source, floor, records, flat, averaged)
    return Raced(pilot, race.alive[0] if len(race.alive) == 1 else None)


def _own_rate(arms: Sequence[TrainedArm], arm: TrainedArm) -> float:
    """The rate of an arm's kind, which the first of the kind's arms has."""
    return next(each.planned_rate for each in arms if each.kind == arm.kind)


def constant_loss(task: TokenisedTask) -> float:
    """Mean loss on the selection part of the fit part's class frequencies, or its mean (0)."""
    found = labels(task.selection)
    if task.facts.labels is None:
        return float(0.5 * np.mean(found**2))
    return float(-np.log(task.class_shares())[found].mean())


@dataclass
class _Race:
    """The arms, and which are still in it; `floor` is the constant answer's loss."""

    arms: Sequence[TrainedArm]
    floor: float
    longest: int
    spent: int = 0
    done: int = 0
    flat: bool = False
    alive: list[TrainedArm] = field(init=False)

    def __post_init__(self) -> None:
        self.alive = list(self.arms)

    def run(self, bar: tqdm, checkpoint: Checkpoint | None) -> None:
        """Race to the end."""
        for update in self._looks():
            if update <= self.done:
                continue
            while self.done and not self._affordable(update):  # none is dropped unseen
                self._drop()
            for arm in self.alive:
                arm.advance(self.done, update, bar)
                self.spent += update - self.done
            self.alive = [arm for arm in self.alive if not arm.diverged]
            if not self.alive:
                what = f"every arm of the pilot diverged by update {update}"
                raise TrainingError(f"{what}; allowed: finite losses (lower train.learning_rate)")
            self.done = update
            if update >= FIRST_LOOK:
                self._settle_rates()
            if update >= min(FIRST_DROP, self.longest // 2) and self._has_learnt():
                self.flat = len(self.alive) == 1 and self._is_flat(update)
                if self.flat:
                    break
                self._drop()
            if checkpoint and checkpoint.due():
                checkpoint.save(*self.state())

    def twice_the_best(self) -> int:
        """The updates of a training whose rate falls to zero."""
        if not self._has_learnt():
            return self.done
        best = min(self.alive, key=lambda arm: arm.best).best_update
        return min(self.done, 2 * best) or self.done

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that the next look depends on."""
        tensors: dict[str, Tensor] = {}
        states = []
        for number, arm in enumerate(self.arms):
            own, state = arm.state(arm in self.alive)
            tensors |= {f"{number}/{name}": tensor for name, tensor in own.items()}
            states.append(state)
        precision = self.arms[0].run.result.precision
        return tensors, asdict(RaceState(self.done, self.spent, precision, tuple(states)))

    def resume(self, tensors: dict[str, Tensor], found: Any) -> None:
        """Go back to a state of as many arms."""
        state: RaceState = decode(RaceState, found, "checkpoint")
        own: list[dict[str, Tensor]] = [{} for _ in self.arms]
        for name, tensor in tensors.items():
            number, rest = name.split("/", 1)
            own[int(number)][rest] = tensor
        for arm, mine, its in zip(self.arms, own, state.arms, strict=True):
            arm.resume(mine, its)
        self.done, self.spent = state.done, state.spent
        self.alive = [arm for arm, its in zip(self.arms, state.arms, strict=True) if its.alive]

    def _affordable(self, update: int) -> bool:
        """The arms can go on so far, and one of them to the end; the last one always can."""
        ahead = len(self.alive) * (update - self.done) + self.longest - update
        return len(self.alive) == 1 or self.spent + ahead <= COST * self.longest

    def _settle_rates(self) -> None:
        """One arm of each kind stays: the best, the first of equals."""
        best: dict[str, TrainedArm] = {}
        for arm in self.alive:
            if arm.kind not in best or arm.best < best[arm.kind].best:
                best[arm.kind] = arm
        self.alive = [arm for arm in self.alive if best[arm.kind] is arm]

    def _has_learnt(self) -> bool:
        return has_learnt(min(arm.best for arm in self.alive), self.floor)

    def _is_flat(self, update: int) -> bool:
        (arm,) = self.alive
        return arm.best_until(update // 2) - arm.best < FLAT * self.floor

    def _drop(self) -> None:
        """Leave the worst arm out, the last of equals; never the only one."""
        if len(self.alive) > 1:
            self.alive.remove(max(reversed(self.alive), key=lambda arm: arm.best))

    def _looks(self) -> Iterator[int]:
        """Sooner in a short race, and in one of many arms, so that all can be paid for by then."""
        most = (COST - 1) * self.longest // max(len(self.arms) - 1, 1)
        return doubling(self.longest, min(self.longest // 4, most))
