"""One arm of the pilot: a model that trains on from look to look."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.random import fork_rng

from fishpal.common.errors import TrainingError
from fishpal.common.files import rounded
from fishpal.common.progress import tqdm
from fishpal.models.batching import endless_batches
from fishpal.records.examples import lengths
from fishpal.records.pilot import CONFIDENCE, Arm
from fishpal.records.plan import Plan
from fishpal.records.results import lowest_loss
from fishpal.records.task import TokenisedTask
from fishpal.training.collapse import SHARE
from fishpal.training.looks import look_updates
from fishpal.training.run import TrainingRun
from fishpal.training.schedule import warmup_of
from fishpal.training.state import ArmState, load_random, random_tensors


class TrainedArm:
    """One model under training, with its batches, as if it trained alone (`training.train`).

    Attributes:
        seconds: wall clock of its training so far.
        rate_share: of the planned rates that it trains at; less where it has collapsed.
        followed: was compared with the race's winner (`follow`).
        behind: as of `records.pilot.Arm`; `is_behind`: the interval's lower end is above 0.
    """

    def __init__(
        self,
        run: TrainingRun,
        plan: Plan,
        task: TokenisedTask,
        batch_size: int,
        seed: int,
        share: float,
    ) -> None:
        self.run, self.plan, self.task, self.share = run, plan, task, share
        self.diverged = self.followed = self.is_behind = False
        self.rate_share = 1.0
        self.behind: float | None = None
        self.per_epoch = math.ceil(len(task.fit) / batch_size)
        rng = np.random.default_rng(seed)
        self.batches = endless_batches(lengths(task.fit), batch_size, rng)
        self.seconds = 0.0
        with fork_rng():
            torch.manual_seed(seed)
            self.random = random_tensors(run.accelerator.device)
        run.name += f", the pilot's {self.kind} at {self.planned_rate:.3g}"
        run.evaluate(0, 0.0)

    @property
    def kind(self) -> str:
        """The candidate's word, or the criterion of a mix."""
        return self.plan.reason.criterion or self.plan.layers[0] or ""

    @property
    def kept(self) -> int:
        """Parameters that its modules keep."""
        return sum(module.kept_parameters for module in self.run.model.candidates())

    @property
    def planned_rate(self) -> float:
        return self.plan.rate(self.plan.kinds[0], 0)

    @property
    def rate(self) -> float:
        """At which it trains."""
        return self.planned_rate * self.rate_share

    @property
    def best(self) -> float:
        return self.run.result.best_loss

    @property
    def losses(self) -> NDArray[np.float64]:
        """Of every example of the selection part, at the best look."""
        assert self.run.pick.lowest is not None  # since the look at update 0
        return self.run.pick.lowest

    @property
    def best_update(self) -> int:
        return self.run.result.best_update

    def best_until(self, update: int) -> float:
        """Lowest selection loss of the looks up to `update`."""
        curve = self.run.result.curve
        return lowest_loss([point for point in curve if point.update <= update])

    def advance(self, before: int, until: int, bar: tqdm) -> None:
        """Train on, and look."""
        begin = time.monotonic()
        if self.run.recover():
            self.rate_share *= SHARE
        try:
            with self._own_random():
                for _, batch in zip(range(until - before), self.batches, strict=False):
                    self.run.step([self.task.fit[i] for i in batch], batch)
                    bar.update()
            self.run.evaluate(until, until / self.per_epoch)
        except TrainingError:
            self.diverged = True
        self.seconds += time.monotonic() - begin

    @contextmanager
    def _own_random(self) -> Iterator[None]:
        """Random numbers are those of a training of this arm alone."""
        device = self.run.accelerator.device
        with fork_rng():
            load_random(self.random, device)
            yield
            self.random = random_tensors(device)

    def state(self, alive: bool) -> tuple[dict[str, Tensor], ArmState]:
        """All that going on from the last look depends on."""
        tensors, run = self.run.state(self.run.result.curve[-1].update)
        state = ArmState(run, alive, self.diverged, self.rate_share, self.seconds)
        return tensors | self.random, state

    def resume(self, tensors: dict[str, Tensor], found: ArmState) -> None:
        """Go back to a state, of a fresh arm."""
        done = self.run.resume(tensors, found.run)
        next(islice(self.batches, done, done), None)  # those that lie behind it
        self.diverged, self.rate_share = found.diverged, found.rate_share
        self.random = {name: tensors[name] for name in self.random}
        self.seconds = found.seconds

    def trained_like(self, plan: Plan) -> bool:
        """Whether it is a training of this plan (`training.train`), from its start to its end."""
        options, total = self.run.options, plan.updates or 0
        if self.rate_share != 1.0 or options.patience is not None or not total:
            return False
        if warmup_of(options, total) != self.run.warmup:
            return False
        own = replace(self.plan, updates=total, kept=plan.kept)
        seen = [point.update for point in self.run.result.curve[1:]]
        looks = sorted(look_updates(total, self.per_epoch, options))
        return own.trained_by() == plan.trained_by() and seen == looks

    def train_like(self, whole: Self) -> None:
        """At the share of its rates that another arm has come down to, before any update."""
        self.rate_share = whole.rate_share
        self.run.scale_rates(whole.rate_share)

    def follow(self, winner: Self, bar: tqdm) -> None:
        """Train as long as the winner did to its best, and compare both at their best looks."""
        self.followed, done = True, self.run.result.curve[-1].update
        looks = [p.update for p in winner.run.result.curve if done < p.update <= winner.best_update]
        for before, until in zip([done, *looks], looks, strict=False):
            if not self.diverged:
                self.advance(before, until, bar)
        if not self.diverged:
            more = self.losses - winner.losses
            mean, width = float(more.mean()), _one_sided(more)
            self.behind = rounded(mean + width) if math.isfinite(width) else None
            self.is_behind = mean > width

    def record(self, own_rate: float) -> Arm:
        """What the pilot's file says of it; `own_rate` is the kind's."""
        return Arm(
            self.kind,
            self.rate,
            tuple(self.run.result.curve),
            self.diverged,
            factor=rounded(self.rate / own_rate),
            share=self.share,
            kept=self.kept,
            followed=self.followed,
            behind=self.behind,
            layers=None if self.plan.reason.criterion is None else self.plan.layers,
        )


def _one_sided(values: NDArray[np.float64]) -> float:
    """What Student's interval of their mean takes on one side; ∞ of a single one."""
    from scipy.special import stdtrit  # here: slow to import

    if len(values) < 2:
        return math.inf
    quantile = float(stdtrit(len(values) - 1, CONFIDENCE))
    return quantile * float(values.std(ddof=1)) / math.sqrt(len(values))
