"""Training a plan by the protocol of design §7: fit on one part of train, pick on the other."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import set_seed
from torch import Tensor, nn
from tqdm import tqdm
from transformers import get_scheduler

from fishpal.attach import build_modules
from fishpal.batching import collate, shuffled_by_length
from fishpal.encoder import facts_of
from fishpal.errors import AttachError, TrainingError
from fishpal.evaluation import mean_loss, predict
from fishpal.model import Classifier, pick_device, task_loss
from fishpal.options import TrainOptions
from fishpal.plan import Plan
from fishpal.pooling import Pooling
from fishpal.tokens import Example, TaskFacts, lengths

SCHEDULES = {"constant": "constant_with_warmup"}  # ours → transformers', where they differ
PRECISIONS = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


@dataclass(frozen=True)
class CurvePoint:
    """One evaluation: mean losses in nats since the last one (fit) and now (selection)."""

    update: int
    epoch: float
    fit_loss: float | None
    selection_loss: float


@dataclass
class Training:
    """What happened: the curve, and the update whose weights were kept."""

    curve: list[CurvePoint] = field(default_factory=list)
    best_update: int = 0
    best_loss: float = math.inf


def plan_model(
    encoder: nn.Module, head: nn.Linear, plan: Plan, pooling: Pooling, seed: int, train_head: bool
) -> Classifier:
    """Encoder, head and the plan's fresh modules, with just what is to be trained unfrozen.

    Raises:
        AttachError: where the plan was made for an encoder of another type, depth or width.
    """
    facts = facts_of(encoder)
    for key in ("type", "layers", "hidden"):
        planned, found = getattr(plan.encoder, key), getattr(facts, key)
        if planned != found:
            raise AttachError(f"plan is for an encoder with {key} {planned}; this one has {found}")
    model = Classifier(encoder, head, pooling)
    model.encoder.requires_grad_(plan.full)
    model.head.requires_grad_(train_head)
    modules = build_modules(plan.layers, facts.hidden, plan.modules, seed)
    if modules:
        model.attach(modules)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise AttachError("the plan has no modules and train.train_head is false: nothing to train")
    return model


def train(
    model: Classifier,
    plan: Plan,
    fit: Sequence[Example],
    selection: Sequence[Example],
    task: TaskFacts,
    options: TrainOptions,
    seed: int,
    *,
    progress: bool = True,
) -> Training:
    """Train in place; the model ends with the weights of the best selection loss.

    AdamW with one peak rate a kind (`plan.learning_rate`), warm-up and decay over the planned
    updates, batches of similar length. The start counts as update 0 and can be the best.

    Args:
        model: from `plan_model`.
        seed: of dropout and of the order of examples.

    Raises:
        TrainingError: where a loss stops being finite.
    """
    accelerator = _accelerator(options, seed)
    model.to(accelerator.device)
    sizes, rng = lengths(fit), np.random.default_rng(seed)
    per_epoch = math.ceil(len(fit) / options.batch_size)
    total = per_epoch * options.epochs
    run = _Run(model, plan, selection, task, options, accelerator, total)
    run.evaluate(0, 0.0, None)
    checks = _evaluation_updates(total, options)
    losses: list[Tensor] = []
    with tqdm(total=total, desc="train", disable=None if progress else True) as bar:
        for update in range(1, total + 1):
            if (update - 1) % per_epoch == 0:
                batches = shuffled_by_length(sizes, options.batch_size, rng)
            index = batches[(update - 1) % per_epoch]
            losses.append(run.step([fit[i] for i in index]))
            bar.update()
            if update in checks:
                mean = torch.stack(losses).mean().item()
                losses.clear()
                run.evaluate(update, update / per_epoch, mean)
                if run.stale(options.patience):
                    break
    run.restore()
    return run.result


def parameter_groups(model: Classifier, plan: Plan, weight_decay: float) -> list[dict[str, object]]:
    """What is trained, by kind and by whether it decays: matrices do, vectors (biases) do not."""
    owners: list[tuple[str, nn.Module]] = [(m.kind.value, m) for m in model.candidates()]
    owners += [("head", model.head), ("full", model.encoder)]
    groups = []
    for kind, owner in owners:
        trained = [p for p in owner.parameters() if p.requires_grad]
        for decays in (True, False):
            part = [p for p in trained if (p.dim() > 1) == decays]
            if part:
                rate = getattr(plan.learning_rate, kind)
                decay = weight_decay if decays else 0.0
                groups.append({"params": part, "lr": rate, "weight_decay": decay})
    return groups


class _Run:
    """The moving parts of one training of `total` updates."""

    def __init__(
        self,
        model: Classifier,
        plan: Plan,
        selection: Sequence[Example],
        task: TaskFacts,
        options: TrainOptions,
        accelerator: Accelerator,
        total: int,
    ) -> None:
        self.model, self.selection, self.task = model, selection, task
        self.max_grad_norm, self.accelerator = options.max_grad_norm, accelerator
        optimizer = torch.optim.AdamW(parameter_groups(model, plan, options.weight_decay))
        name = SCHEDULES.get(options.schedule, options.schedule)
        warmup = math.ceil(options.warmup * total)
        self.schedule = get_scheduler(name, optimizer, warmup, total)
        self.optimizer = accelerator.prepare(optimizer)
        self.result = Training()
        self.best: dict[str, Tensor] = {}

    def step(self, examples: list[Example]) -> Tensor:
        """One update; its loss, detached."""
        self.model.train()
        batch = collate(examples, self.task.pad_id)
        batch = {name: tensor.to(self.accelerator.device) for name, tensor in batch.items()}
        labels = batch.pop("labels")
        with self.accelerator.autocast():
            loss = task_loss(self.model(**batch), labels)
        self.accelerator.backward(loss)
        trained = [parameter for _, parameter in self._trained()]
        self.accelerator.clip_grad_norm_(trained, self.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()
        return loss.detach()

    def evaluate(self, update: int, epoch: float, fit_loss: float | None) -> None:
        """Add a point to the curve, and keep the weights where they are the best so far."""
        with self.accelerator.autocast():
            logits = predict(self.model, self.selection, self.task)
        loss = mean_loss(logits, self.selection)
        if not math.isfinite(loss) or not math.isfinite(fit_loss or 0.0):
            raise TrainingError(
                f"task {self.task.name}: the loss is {fit_loss} on fit and {loss} on selection at"
                f" update {update}; allowed: finite ones (lower train.learning_rate)"
            )
        self.result.curve.append(CurvePoint(update, epoch, fit_loss, loss))
        if loss < self.result.best_loss:
            self.result.best_loss, self.result.best_update = loss, update
            self.best = {n: p.detach().clone() for n, p in self._trained()}

    def stale(self, patience: int | None) -> bool:
        """The last `patience` evaluations brought nothing better."""
        if patience is None:
            return False
        since = [point for point in self.result.curve if point.update > self.result.best_update]
        return len(since) >= patience

    @torch.no_grad()
    def restore(self) -> None:
        """Go back to the best weights."""
        for name, parameter in self._trained():
            parameter.copy_(self.best[name])
        self.model.eval()

    def _trained(self) -> list[tuple[str, nn.Parameter]]:
        return [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]


def _accelerator(options: TrainOptions, seed: int) -> Accelerator:
    """Device, precision and random numbers of one training."""
    device = pick_device(options.device)
    if options.deterministic and device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
        torch.use_deterministic_algorithms(True)
    set_seed(seed)
    AcceleratorState._reset_state()  # else a second training in one process keeps the precision
    return Accelerator(cpu=device.type == "cpu", mixed_precision=_precision(options, device))


def _precision(options: TrainOptions, device: torch.device) -> str:
    """accelerate's name; `auto` is float32 on a CPU and bfloat16 or float16 on a GPU."""
    if options.precision != "auto":
        return PRECISIONS[options.precision]
    if device.type == "cpu":
        return "no"
    return "bf16" if torch.cuda.is_bf16_supported() else "fp16"


def _evaluation_updates(total: int, options: TrainOptions) -> set[int]:
    """Updates after which to evaluate: evenly over the whole run, its end included."""
    wanted = max(1, round(options.epochs * options.evaluations_per_epoch))
    parts = min(wanted, total)
    return {round(total * part / parts) for part in range(1, parts + 1)}
