"""One arm of the pilot: a model that trains on from look to look."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.random import fork_rng

from fishpal.common.errors import TrainingError
from fishpal.common.files import rounded
from fishpal.common.progress import tqdm
from fishpal.models.batching import endless_batches
from fishpal.records.examples import lengths
from fishpal.records.pilot import Arm
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
    """

    def __init__(
        self,
        run: TrainingRun,
        plan: Plan,
        task: TokenisedTask,
        batch_size: int,
        seed: int,
    ) -> None:
        self.run, self.plan, self.task = run, plan, task
        self.diverged, self.rate_share = False, 1.0
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

    def record(self, own_rate: float) -> Arm:
        """What the pilot's file says of it; `own_rate` is the kind's."""
        return Arm(
            self.kind,
            self.rate,
            tuple(self.run.result.curve),
            self.diverged,
            factor=rounded(self.rate / own_rate),
            layers=None if self.plan.reason.criterion is None else self.plan.layers,
        )
