"""What a checkpoint holds of a training, or of a pilot."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fishpal.common.validate import Strict
from fishpal.models.calibration import Calibration
from fishpal.records.facts import Precision
from fishpal.records.results import CurvePoint
from fishpal.training.average import Average


@dataclass(frozen=True)
class RunState(Strict):
    """What a checkpoint holds beside tensors, after `update` updates.

    Attributes:
        rates: the current learning rate of every parameter group.
        schedule, scaler: `state_dict` of torch's schedule and, in float16, of its gradient scaler.
        spread: of the untrained model (`fishpal.training.collapse`).
        averaged: updates that the average of the weights has seen.
        precision: of its passes, which `auto` makes another one on another machine.
    """

    update: int
    rates: tuple[float, ...]
    schedule: dict[str, Any]
    scaler: dict[str, Any]
    curve: tuple[CurvePoint, ...]
    best_update: int
    calibration: Calibration
    spread: float | None
    averaged: int
    precision: Precision


@dataclass(frozen=True)
class ArmState(Strict):
    """What a checkpoint holds of one of the pilot's arms.

    Attributes:
        run: a `RunState`.
        alive: it is still in the race.
        seconds: of its training so far, wall clock.
    """

    run: dict[str, Any]
    alive: bool
    diverged: bool
    rate_share: float
    seconds: float


@dataclass(frozen=True)
class RaceState(Strict):
    """What a checkpoint holds of a pilot after a look at `done` updates; `spent` are all arms', and
    `precision` is that of every one."""

    done: int
    spent: int
    precision: Precision
    arms: tuple[ArmState, ...]


def moving_tensors(
    optimizer: torch.optim.Optimizer, average: Average | None, device: torch.device
) -> dict[str, Tensor]:
    """An optimizer's moments and counts by parameter, an average's means, random numbers."""
    states = optimizer.state_dict()["state"].items()
    found = {f"optimizer/{n}/{key}": t for n, values in states for key, t in values.items()}
    return found | (average.tensors() if average else {}) | random_tensors(device)


def load_moving(
    tensors: dict[str, Tensor],
    state: RunState,
    optimizer: torch.optim.Optimizer,
    average: Average | None,
    device: torch.device,
) -> None:
    """Go back to what `moving_tensors` gave."""
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer/"):
            _, number, key = name.split("/", 2)
            moments.setdefault(int(number), {})[key] = tensor
    groups = optimizer.state_dict()["param_groups"]
    for group, rate in zip(groups, state.rates, strict=True):
        group["lr"] = rate
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    if average:
        average.resume(tensors, state.averaged)
    load_random(tensors, device)


def random_tensors(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's random numbers that a training on this device draws."""
    found = {"random/cpu": torch.get_rng_state()}
    return found | ({"random/cuda": torch.cuda.get_rng_state()} if device.type == "cuda" else {})


def load_random(tensors: dict[str, Tensor], device: torch.device) -> None:
    """Go back to what `random_tensors` gave."""
    torch.set_rng_state(tensors["random/cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(tensors["random/cuda"])
