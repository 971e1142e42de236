"""The moving parts of one training: updates, looks at the selection part, and its whole state."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from transformers import get_scheduler

from fishpal.common.errors import TrainingError
from fishpal.common.validate import Strict, decode
from fishpal.models.batching import collate
from fishpal.models.classifier import Classifier, task_loss
from fishpal.models.predict import mean_loss, predict
from fishpal.params.options import TrainOptions
from fishpal.records.examples import Example
from fishpal.records.plan import Plan
from fishpal.records.results import CurvePoint
from fishpal.records.task import TokenisedTask

SCHEDULES = {"constant": "constant_with_warmup"}  # ours → transformers', where they differ


@dataclass
class Training:
    """What happened: the curve, and the update whose weights were kept."""

    curve: list[CurvePoint] = field(default_factory=list)
    best_update: int = 0
    best_loss: float = math.inf


@dataclass(frozen=True)
class RunState(Strict):
    """What a checkpoint holds beside tensors, after `update` updates.

    Attributes:
        rates: the current learning rate of every parameter group.
        schedule, scaler: `state_dict` of torch's schedule and, in float16, of its gradient scaler.
    """

    update: int
    rates: tuple[float, ...]
    schedule: dict[str, Any]
    scaler: dict[str, Any]
    curve: tuple[CurvePoint, ...]
    best_update: int
    best_loss: float


def parameter_groups(model: Classifier, plan: Plan, weight_decay: float) -> list[dict[str, object]]:
    """What is trained, by kind and by whether it decays: matrices do, vectors (biases) do not."""
    owners: list[tuple[float, nn.Module, dict[str, float]]]
    owners = [(plan.rate(m.kind, m.layer), m, m.rate_ratios()) for m in model.candidates()]
    gates = [m.gate for m in model.candidates() if m.gate is not None]
    owners = [(plan.rate("gate"), gate, {}) for gate in gates] + owners
    owners += [(plan.rate("head"), model.head, {}), (plan.rate("full"), model.encoder, {})]
    groups: list[dict[str, object]] = []
    owned: set[nn.Parameter] = set()
    for usual, owner, ratios in owners:
        parts: dict[tuple[bool, float], list[nn.Parameter]] = {}
        for name, p in owner.named_parameters():
            if p.requires_grad and p not in owned:
                owned.add(p)
                parts.setdefault((p.dim() == 1, ratios.get(name, 1.0)), []).append(p)
        for (vectors, ratio), part in sorted(parts.items()):
            rate = usual * ratio
            decay = 0.0 if vectors else weight_decay
            groups.append({"params": part, "lr": rate, "weight_decay": decay})
    return groups


class TrainingRun:
    """The moving parts of one training of `total` updates."""

    def __init__(
        self,
        model: Classifier,
        plan: Plan,
        task: TokenisedTask,
        options: TrainOptions,
        accelerator: Accelerator,
        total: int,
    ) -> None:
        self.model, self.selection, self.task = model, task.selection, task.facts
        self.max_grad_norm, self.accelerator = options.max_grad_norm, accelerator
        optimizer = torch.optim.AdamW(parameter_groups(model, plan, options.weight_decay))
        name = SCHEDULES.get(options.schedule, options.schedule)
        warmup = math.ceil(options.warmup * total)
        self.schedule = get_scheduler(name, optimizer, warmup, total)
        self.optimizer = accelerator.prepare(optimizer)
        self.result = Training()
        self.best: dict[str, Tensor] = {}
        self.losses: list[Tensor] = []  # of the updates since the last evaluation

    def step(self, examples: list[Example]) -> None:
        """One update."""
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
        self.losses.append(loss.detach())

    def evaluate(self, update: int, epoch: float) -> None:
        """Add a point to the curve, and keep the weights where they are the best so far."""
        fit_loss = torch.stack(self.losses).mean().item() if self.losses else None
        self.losses.clear()
        with self.accelerator.autocast():
            logits = predict(self.model, self.selection, self.task)
        loss = mean_loss(logits, [example.label for example in self.selection])
        if not math.isfinite(loss) or not math.isfinite(fit_loss or 0.0):
            found = f"the loss is {fit_loss} on fit and {loss} on selection at update {update}"
            allowed = "finite ones (lower train.learning_rate)"
            raise TrainingError(f"task {self.task.name}: {found}; allowed: {allowed}")
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

    def state(self, update: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that the next update depends on; the order of examples is drawn again."""
        tensors: dict[str, Tensor] = {f"model/{n}": p for n, p in self._trained()}
        tensors |= {f"best/{name}": tensor for name, tensor in self.best.items()}
        for number, values in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{number}/{name}": value for name, value in values.items()}
        if self.losses:
            tensors["losses"] = torch.stack(self.losses)
        tensors["random/cpu"] = torch.get_rng_state()
        if self.accelerator.device.type == "cuda":
            tensors["random/cuda"] = torch.cuda.get_rng_state()
        scaler, result = self.accelerator.scaler, self.result
        state = RunState(
            update=update,
            rates=tuple(group["lr"] for group in self.optimizer.param_groups),
            schedule=self.schedule.state_dict(),
            scaler={} if scaler is None else scaler.state_dict(),
            curve=tuple(result.curve),
            best_update=result.best_update,
            best_loss=result.best_loss,
        )
        return tensors, asdict(state)

    @torch.no_grad()
    def resume(self, tensors: dict[str, Tensor], found: Any) -> int:
        """Go back to a state; the number of updates that it has behind it."""
        state: RunState = decode(RunState, found, "checkpoint")
        device = self.accelerator.device
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimizer/"):
                _, number, key = name.split("/", 2)
                moments.setdefault(int(number), {})[key] = tensor
        for name, parameter in self._trained():
            parameter.copy_(tensors[f"model/{name}"])
            self.best[name] = tensors[f"best/{name}"].to(device)
        groups = self.optimizer.state_dict()["param_groups"]
        for group, rate in zip(groups, state.rates, strict=True):
            group["lr"] = rate
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.schedule.load_state_dict(state.schedule)
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state.scaler)
        self.losses = list(tensors["losses"].to(device)) if "losses" in tensors else []
        self.result = Training(list(state.curve), state.best_update, state.best_loss)
        torch.set_rng_state(tensors["random/cpu"])
        if device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random/cuda"])
        return state.update

    def _trained(self) -> list[tuple[str, nn.Parameter]]:
        return [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]
