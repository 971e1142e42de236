"""Training a plan by the protocol of design §7: fit on one part of train, pick on the other."""

import math
import os
import platform
from dataclasses import replace

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import set_seed

from fishpal.common.errors import AttachError, DataError, ParamsError
from fishpal.common.progress import tqdm
from fishpal.models.batching import endless_batches
from fishpal.models.classifier import Classifier
from fishpal.models.device import pick_device
from fishpal.models.precision import pick_precision
from fishpal.models.processes import Processes
from fishpal.params.options import TrainOptions
from fishpal.records.examples import lengths
from fishpal.records.plan import Plan
from fishpal.records.task import TokenisedTask
from fishpal.training.apart import fresh
from fishpal.training.checkpoint import Checkpoint
from fishpal.training.looks import look_updates
from fishpal.training.pick import stale
from fishpal.training.run import ACCELERATE, Training, TrainingRun


@fresh(AcceleratorState, GradientState)  # not what processes met by: those may meet once
def train(
    model: Classifier,
    plan: Plan,
    task: TokenisedTask,
    options: TrainOptions,
    seed: int,
    *,
    checkpoint: Checkpoint | None = None,
    progress: bool = True,
) -> Training:
    """Train in place; the model ends with the weights that `options.pick` keeps.

    AdamW with one peak rate a kind (`plan.learning_rate`), warm-up and decay over the planned
    updates (`plan.updates`, or what `options` says), batches of similar length; or at a constant
    rate, of which the average of the weights is what counts (`fishpal.training.average`). The
    start counts as update 0 and can be the best.

    Args:
        model: from `plan_model`.
        seed: of dropout and of the order of examples.
        options: of all processes together, where torchrun started several: they share every
            batch and every look at the selection part, and end with the same weights.
        checkpoint: where the state is kept now and then. A training that finds its own state
            there goes on from it, to the same weights as an unbroken one (on one machine's CPU).

    Raises:
        AttachError: where the model has nothing to train, as a bare `Classifier` of a frozen head.
        DataError: an empty part, or an example that is not the task's or the encoder's.
        ParamsError: where neither plan nor options say how long to train.
        TrainingError: where a loss stops being finite.
    """
    _check_ready(model, task)
    accelerator = start_accelerator(options, seed)
    model.to(accelerator.device)
    fit, rng = task.fit, np.random.default_rng(seed)
    per_epoch = math.ceil(len(fit) / options.batch_size)
    total = plan.updates or fixed_updates(options, len(fit))
    if total is None:
        raise ParamsError("train.updates is auto, and the plan has none; allowed: a number")
    run = TrainingRun(model, plan, task, options, accelerator, total)
    done = _begin(run, checkpoint)
    checks = look_updates(total, per_epoch, options)
    batches = endless_batches(lengths(fit), options.batch_size, rng)
    with tqdm(total=total, initial=done, desc="train", disable=None if progress else True) as bar:
        for update, batch in zip(range(1, total + 1), batches, strict=False):
            if update <= done:
                continue
            run.step([fit[i] for i in batch], batch, (seed, update))
            bar.update()
            if update in checks:
                run.evaluate(update, update / per_epoch)
                if stale(run.result.curve, options.patience):
                    break
                if update < total:
                    run.recover()
            if checkpoint and run.processes.main and checkpoint.due():
                checkpoint.save(*run.state(update))
    run.restore()
    return run.result


def _begin(run: TrainingRun, checkpoint: Checkpoint | None) -> int:
    """Updates that lie behind it: none, unless it finds its own state."""
    found = checkpoint.load() if checkpoint else None
    if found and run.computes_as(found[1]):
        return run.resume(*found)
    run.evaluate(0, 0.0)
    return 0


def fixed_updates(options: TrainOptions, examples: int) -> int | None:
    """The updates that the options ask for; None where a pilot has to find them."""
    if options.epochs is not None:
        return options.epochs * math.ceil(examples / options.batch_size)
    return None if options.updates == "auto" else options.updates


def device_name(device: str) -> str:
    """The kind of machine that a training on this device runs on, as the report says it."""
    if pick_device(device).type == "cuda":
        return str(torch.cuda.get_device_name())
    return f"{platform.machine()} CPU"


def _check_ready(model: Classifier, task: TokenisedTask) -> None:
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise AttachError("the model has nothing to train; allowed: one from `plan_model`")
    task.check(model.source.limits)
    for name, part in (("fit", task.fit), ("selection", task.selection)):
        if not len(part):
            raise DataError(f"task {task.facts.name}: {name} is empty; allowed: one row or more")


def start_accelerator(options: TrainOptions, seed: int) -> Accelerator:
    """Device, precision and random numbers of one training."""
    device = pick_device(options.device)
    if options.deterministic and device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
        torch.use_deterministic_algorithms(True)
    replace(options, processes=Processes.started(device).count)  # which checks them
    set_seed(seed)
    AcceleratorState._reset_state()  # else a second training in one process keeps the precision
    GradientState._reset_state()  # else none steps while the caller accumulates gradients
    precision = pick_precision(options.precision, device, "train.precision")
    name = next(name for name, ours in ACCELERATE.items() if ours == precision)
    return Accelerator(cpu=device.type == "cpu", mixed_precision=name)
