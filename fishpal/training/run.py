"""The moving parts of one training: updates, looks at the selection part, and its whole state."""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from fishpal.common.errors import TrainingError, caution
from fishpal.common.validate import decode
from fishpal.models.batching import collate
from fishpal.models.calibration import Calibration, calibrate
from fishpal.models.classifier import Classifier, task_loss
from fishpal.models.frozen import FrozenOutputs, draws_numbers, frozen_layers, frozen_outputs
from fishpal.models.precision import Passes
from fishpal.models.predict import losses as example_losses
from fishpal.models.predict import mean_loss, predict
from fishpal.models.processes import Processes
from fishpal.params.options import TrainOptions
from fishpal.records.examples import Example
from fishpal.records.facts import Precision
from fishpal.records.plan import Plan
from fishpal.records.results import CurvePoint
from fishpal.records.task import TokenisedTask
from fishpal.training.average import Average
from fishpal.training.collapse import SHARE, Collapse
from fishpal.training.groups import parameter_groups
from fishpal.training.pick import Pick
from fishpal.training.schedule import start_schedule, warmup_of
from fishpal.training.state import RunState, load_moving, moving_tensors

ACCELERATE: dict[str, Precision] = {"no": "float32", "bf16": "bfloat16", "fp16": "float16"}
"""accelerate's names of precisions."""


@dataclass
class Training:
    """What happened: the curve, the update whose weights were kept, and in which precision.

    `calibration` is that of these weights; its loss is what looks are compared by (`train.pick`).
    """

    curve: list[CurvePoint] = field(default_factory=list)
    best_update: int = 0
    calibration: Calibration = Calibration()
    precision: Precision = "float32"

    @property
    def best_loss(self) -> float:
        """Of the kept weights on the selection part, as looks are compared."""
        return self.calibration.loss


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
        self.name = f"task {task.facts.name}"
        self.options, self.accelerator = options, accelerator
        averaged = options.schedule == "averaged"
        # A head that is not trained takes no calibration, and is not to be picked by one.
        self.refined = options.pick == "refined" and model.head.weight.requires_grad
        self.processes = Processes.started(accelerator.device)
        optimizer = torch.optim.AdamW(parameter_groups(model, plan, options.weight_decay))
        self.warmup = warmup_of(options, total)
        self.schedule = start_schedule(optimizer, options, total)
        self.optimizer = accelerator.prepare(optimizer)
        precision = ACCELERATE[accelerator.mixed_precision]
        self.passes = Passes(model, precision)
        self.result = Training(precision=precision)
        self.pick = Pick(self.refined and not averaged)  # an average is at rest at every look
        self.average = self._new_average() if averaged else None
        self.collapse = Collapse()
        self.best: dict[str, Tensor] = {}
        self.losses: list[Tensor] = []  # of the updates since the last evaluation
        self.kept_fit: FrozenOutputs | None = None
        self.kept_selection: FrozenOutputs | None = None
        if options.reuse_frozen == "auto":
            self._keep_frozen(task, total * options.batch_size > len(task.fit))

    def _keep_frozen(self, task: TokenisedTask, repeats: bool) -> None:
        """Compute the frozen layers' outputs; of fit, where exact and used more than once."""
        model, pad_id = self.model, self.task.pad_id
        if frozen_layers(model) == 0:
            return
        with self.passes():
            self.kept_selection = frozen_outputs(model, self.selection, pad_id, "selection")
            drawn = self.options.encoder_dropout and draws_numbers(model, task.fit[0], pad_id)
            if repeats and not drawn:
                self.kept_fit = frozen_outputs(model, task.fit, pad_id, "fit")

    def step(
        self, examples: list[Example], rows: Sequence[int] = (), drawn: tuple[int, ...] = ()
    ) -> None:
        """One update on a batch, which all processes have in common.

        Args:
            rows: of the fit part, where its outputs are kept.
            drawn: what dropout depends on, beside the process, where there are several.
        """
        self.model.train()
        self.model.encoder.train(self.options.encoder_dropout)
        self.processes.seed(*drawn)
        mine = self.processes.share(examples)
        # A process without a share takes an example for nothing, so that all have gradients.
        batch = collate(mine or examples[:1], self.task.pad_id)
        batch = {name: tensor.to(self.accelerator.device) for name, tensor in batch.items()}
        labels, kept = batch.pop("labels"), self.kept_fit if rows else None
        with self.passes():
            own = self.processes.share(list(rows)) or list(rows[:1])
            logits = self.model(**batch) if kept is None else kept.logits(batch, own)
            loss = task_loss(logits, labels) * (len(mine) / len(examples))
        self.accelerator.backward(loss)
        trained = [parameter for _, parameter in self._trained()]
        loss = self.processes.sum_gradients(trained, loss.detach())
        self.accelerator.clip_grad_norm_(trained, self.options.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()
        if self.average:
            self.average.update()
        self.losses.append(loss)

    def evaluate(self, update: int, epoch: float) -> None:
        """Add a point to the curve, and keep the weights where they are the best so far."""
        with self.average.in_place() if self.average else nullcontext():
            self._look(update, epoch)

    def _look(self, update: int, epoch: float) -> None:
        fit_loss = torch.stack(self.losses).mean().item() if self.losses else None
        self.losses.clear()
        frozen, shared = self.kept_selection, self.processes
        with self.passes():
            logits = predict(self.model, self.selection, self.task, frozen=frozen, processes=shared)
        labels = [example.label for example in self.selection]
        loss = mean_loss(logits, labels)
        if not math.isfinite(loss) or not math.isfinite(fit_loss or 0.0):
            found = f"the loss is {fit_loss} on fit and {loss} on selection at update {update}"
            allowed = "finite ones (lower train.learning_rate)"
            raise TrainingError(f"{self.name}: {found}; allowed: {allowed}")
        now = calibrate(logits, labels) if self.refined else Calibration(loss=loss)
        collapsed = self.options.recover and self.collapse.seen(logits, labels, now.loss)
        kept = not collapsed and self.pick.keeps(example_losses(now.apply(logits), labels))
        point = CurvePoint(update, epoch, fit_loss, loss, now.loss, kept, collapsed)
        self.result.curve.append(point)
        if kept:
            self.result.calibration, self.result.best_update = now, update
            self.best = {n: p.detach().clone() for n, p in self._trained()}

    def recover(self) -> bool:
        """Where the last look found it collapsed: back to the best weights so far, without the
        optimizer's memory, and on at `SHARE` of the modules' rates; the answer is whether so."""
        if not self.result.curve[-1].collapsed:
            return False
        self._take_best()
        self.optimizer.state.clear()
        if self.average:
            self.average = self._new_average()
        self.scale_rates(SHARE)
        update, best = self.result.curve[-1].update, self.result.best_update
        what = f"after {update} updates the model answers all examples alike, as a high rate does"
        caution(f"{self.name}: {what}: on from update {best} at a third of its rates")
        return True

    def scale_rates(self, share: float) -> None:
        """All but the head's, which collapses nothing."""
        for number, group in enumerate(self.optimizer.param_groups):
            if not group["head"]:
                group["lr"] *= share
                self.schedule.base_lrs[number] *= share

    @torch.no_grad()
    def restore(self) -> None:
        """Go back to the best weights, calibrated where looks were."""
        self._take_best()
        if self.refined:
            self.result.calibration.fold(self.model.head)
        self.model.eval()

    @torch.no_grad()
    def _take_best(self) -> None:
        for name, parameter in self._trained():
            parameter.copy_(self.best[name])

    def state(self, update: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that the next update depends on; the order of examples is drawn again."""
        tensors: dict[str, Tensor] = {f"model/{n}": p for n, p in self._trained()}
        tensors |= {f"best/{name}": tensor for name, tensor in self.best.items()}
        if self.losses:
            tensors["losses"] = torch.stack(self.losses)
        if self.pick.lowest is not None:
            tensors["pick/lowest"] = torch.from_numpy(self.pick.lowest)
        tensors |= moving_tensors(self.optimizer, self.average, self.accelerator.device)
        scaler, result = self.accelerator.scaler, self.result
        state = RunState(
            update=update,
            rates=tuple(group["lr"] for group in self.optimizer.param_groups),
            schedule=self.schedule.state_dict(),
            scaler={} if scaler is None else scaler.state_dict(),
            curve=tuple(result.curve),
            best_update=result.best_update,
            calibration=result.calibration,
            spread=self.collapse.start,
            averaged=0 if self.average is None else self.average.steps,
            precision=result.precision,
        )
        return tensors, asdict(state)

    def computes_as(self, state: Any) -> bool:
        """Whether a checkpoint's state is one of this precision."""
        return bool(state.get("precision") == self.result.precision)

    @torch.no_grad()
    def resume(self, tensors: dict[str, Tensor], found: Any) -> int:
        """Go back to a state; the number of updates that it has behind it."""
        state: RunState = decode(RunState, found, "checkpoint")
        device = self.accelerator.device
        for name, parameter in self._trained():
            parameter.copy_(tensors[f"model/{name}"])
            self.best[name] = tensors[f"best/{name}"].to(device)
        load_moving(tensors, state, self.optimizer, self.average, device)
        self.schedule.load_state_dict(state.schedule)
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state.scaler)
        self.pick.lowest = tensors["pick/lowest"].numpy() if "pick/lowest" in tensors else None
        self.losses = list(tensors["losses"].to(device)) if "losses" in tensors else []
        curve, precision = list(state.curve), self.result.precision
        self.result = Training(curve, state.best_update, state.calibration, precision)
        self.collapse.start = state.spread
        return state.update

    def _new_average(self) -> Average:
        return Average([parameter for _, parameter in self._trained()])

    def _trained(self) -> list[tuple[str, nn.Parameter]]:
        return [(n, p) for n, p in self.model.named_parameters() if p.requires_grad]
