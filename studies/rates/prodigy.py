"""The rival: Prodigy (Mishchenko & Defazio 2024), which finds its step size while it trains.

`pip install prodigyopt==1.1.2`; nothing else of the project needs it.
"""

import importlib
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fishpal.api.steps import start
from fishpal.common.errors import PlanError, TrainingError
from fishpal.models.batching import endless_batches
from fishpal.records.examples import lengths
from fishpal.training.groups import parameter_groups
from fishpal.training.run import TrainingRun
from fishpal.training.schedule import start_schedule
from fishpal.training.train import start_accelerator
from studies.cells.store import Line
from studies.cells.trainings import outcome
from studies.rates.cells import RESULTS, CaseStore, encoder_of, task_of, training, uniform
from studies.rates.settings import Case, Settings

PRODIGY = CaseStore(RESULTS / "prodigy.jsonl")


def run_prodigy(settings: Settings, case: Case, kind: str) -> None:
    """Train one cell at the rate that Prodigy finds, times the project's schedule; keep its line.

    Modules and head have an optimizer each, since their rates differ. `safeguard_warmup`, which its
    authors advise for a warm-up, would keep the rates below 1e-5 in so few updates.
    """
    own = {"kind": str(kind), "seed": settings.seed}
    columns = case.columns() | own
    if PRODIGY.of(case, **own):
        return
    begin = time.process_time()
    encoder, (task, evaluation) = encoder_of(settings.encoders[case.encoder]), task_of(case.task)
    tokens, plan = task.tokenised(encoder), uniform(settings, case, kind, 1.0)
    options = training(settings, case)
    module = start(encoder, task, plan, settings.seed).module
    run = TrainingRun(
        module, plan, tokens, options, start_accelerator(options, settings.seed), case.updates
    )
    parts = optimizers(parameter_groups(module, plan, options.weight_decay))
    run.optimizer = Together(parts)
    starts = [start_schedule(part, options, case.updates) for part in parts]
    run.schedule = Together(starts)  # type: ignore[assignment]
    rng, looks = np.random.default_rng(settings.seed), settings.looks
    due = {round(case.updates * part / looks) for part in range(1, looks + 1)}
    batches = endless_batches(lengths(tokens.fit), options.batch_size, rng)
    try:
        run.evaluate(0, 0.0)
        for update, batch in zip(range(1, case.updates + 1), batches, strict=False):
            run.step([tokens.fit[i] for i in batch], batch, (settings.seed, update))
            if update in due:
                run.evaluate(update, update * options.batch_size / len(tokens.fit))
    except TrainingError:
        PRODIGY.add(columns | {"diverged": True})
        return
    run.restore()
    found: Line = {"rates": [float(f"{part.param_groups[0]['d']:.3g}") for part in parts]}
    found |= outcome(encoder, task, evaluation, module, run.result)
    PRODIGY.add(columns | found | {"seconds": round(time.process_time() - begin, 1)})


def optimizers(groups: list[dict[str, Any]]) -> list[torch.optim.Optimizer]:
    """One Prodigy for the modules' parameter groups, and one for the head's."""
    try:
        prodigy = importlib.import_module("prodigyopt").Prodigy
    except ImportError:
        what = "prodigyopt is not installed; allowed: pip install prodigyopt"
        raise PlanError(what) from None
    rates = list(dict.fromkeys(group["lr"] for group in groups))  # the modules' and the head's
    parts = ([g | {"lr": 1.0} for g in groups if g["lr"] == rate] for rate in rates)
    return [prodigy(part, betas=(0.9, 0.999), use_bias_correction=True) for part in parts]


@dataclass(frozen=True)
class Together:
    """Several optimizers, or their schedules, as one."""

    parts: list[Any]

    def step(self) -> None:
        """Of all."""
        for part in self.parts:
            part.step()

    def zero_grad(self) -> None:
        """Of all."""
        for part in self.parts:
            part.zero_grad()
