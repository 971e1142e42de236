"""Several seeds of one plan in one pass through the frozen encoder, against one after the other.

Layout: a trained tensor (…) of S seeds is (S, …). A batch holds every seed's own batch, one below
the other, (R, T) with R = Σ_s B_s rows, padded to the longest of all; in the forward pass each
tensor is (R, …), row by row its seed's, along the example axis that all modules have
(`fishpal.modules.base`). So no seed's loss depends on another's tensors, and one backward pass of
the losses' sum, clipped seed by seed, and one step of AdamW, which goes element by element, are
those of S trainings.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from fishpal.encoders.encoder import Encoder
from fishpal.models.batching import by_length, collate, endless_batches
from fishpal.models.classifier import Batch, Classifier, task_loss
from fishpal.models.frozen import BATCH_SIZE
from fishpal.models.planned import plan_model
from fishpal.models.precision import Passes
from fishpal.params.options import TrainOptions
from fishpal.records.examples import Example, lengths
from fishpal.records.plan import Plan
from fishpal.records.task import TokenisedTask
from fishpal.training.groups import parameter_groups
from fishpal.training.looks import look_updates
from fishpal.training.run import ACCELERATE
from fishpal.training.schedule import start_schedule
from fishpal.training.train import fixed_updates, start_accelerator, train

Weights = dict[str, Tensor]
"""What was trained of one seed's model, by name."""


class RowsHead(nn.Linear):
    """A linear head that serves (C, d) as well as one of each row's own, (R, C, d)."""

    def forward(self, features: Tensor) -> Tensor:
        """(R, d) → (R, C)."""
        return (self.weight @ features.unsqueeze(-1)).squeeze(-1) + self.bias


@dataclass(frozen=True)
class Trial:
    """One training's all but its seed, as `train` takes it.

    Options need a number of updates or of epochs, and no `patience`, since seeds would end apart.
    """

    encoder: Encoder
    head: nn.Linear
    plan: Plan
    task: TokenisedTask
    options: TrainOptions

    def model(self, seed: int, head: nn.Linear | None = None) -> Classifier:
        """Fresh, with a head of its own, since training changes it."""
        head = copy.deepcopy(self.head) if head is None else head
        return plan_model(self.encoder, head, self.plan, seed, self.options.train_head)


def weights_of(model: Classifier) -> Weights:
    return {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}


def train_apart(trial: Trial, seeds: Sequence[int]) -> list[Weights]:
    """Every seed's best weights by the library's training, one seed after the other."""
    found = []
    for seed in seeds:
        model = trial.model(seed)
        train(model, trial.plan, trial.task, trial.options, seed, progress=False)
        found.append(weights_of(model))
        model.detach()
    return found


def train_together(trial: Trial, seeds: Sequence[int]) -> list[Weights]:
    """The same, up to rounding and to the numbers that dropout draws, in one pass an update.

    Of plans of modules; of prefixes, those without an MLP.
    """
    together = Together(trial, seeds)
    fit, size = trial.task.fit, trial.options.batch_size
    orders = [endless_batches(lengths(fit), size, np.random.default_rng(seed)) for seed in seeds]
    together.evaluate()
    for update in range(1, together.total + 1):
        together.step([next(order) for order in orders])
        if update in together.looks:
            together.evaluate()
    together.model.detach()
    return together.best


class Together:
    """The moving parts of S trainings.

    Attributes:
        model: of the last seed, whose tensors the forward pass puts those of all seeds in place of.
        stacked: name of a trained tensor (…) → (S, …).
        looks: updates after which the selection part is looked at.
        best: every seed's weights of its best selection loss so far.
    """

    def __init__(self, trial: Trial, seeds: Sequence[int]) -> None:
        self.task, self.options = trial.task, trial.options
        accelerator = start_accelerator(trial.options, seeds[0])
        starts = []
        for seed in seeds:
            head = RowsHead(trial.head.in_features, trial.head.out_features)
            head.load_state_dict(trial.head.state_dict())
            self.model = trial.model(seed, head)
            starts.append(weights_of(self.model))
            if len(starts) < len(seeds):
                self.model.detach()
        self.device = accelerator.device
        self.model.to(self.device)
        self.stacked = {
            name: nn.Parameter(torch.stack([start[name] for start in starts]).to(self.device))
            for name in starts[0]
        }
        self.passes = Passes(self.model, ACCELERATE[accelerator.mixed_precision])
        self.best: list[Weights] = [{} for _ in seeds]
        self.least = [math.inf] * len(seeds)
        self._plan_updates(trial.plan)

    def _plan_updates(self, plan: Plan) -> None:
        """Optimizer, schedule and looks as `train` has them."""
        options, examples = self.options, len(self.task.fit)
        total = plan.updates or fixed_updates(options, examples)
        if total is None or options.patience or options.pick != "loss" or options.recover:
            what = "updates is auto, patience or recover is set, or pick is refined"
            raise ValueError(f"{what}; allowed: none of them")
        groups = parameter_groups(self.model, plan, options.weight_decay)
        name_of = {parameter: name for name, parameter in self.model.named_parameters()}
        for group in groups:
            own: list[nn.Parameter] = group["params"]  # type: ignore[assignment]
            group["params"] = [self.stacked[name_of[parameter]] for parameter in own]
        self.optimizer = torch.optim.AdamW(groups)
        self.schedule = start_schedule(self.optimizer, options, total)
        per_epoch = math.ceil(examples / options.batch_size)
        self.looks = look_updates(total, per_epoch, options)
        self.total = total

    def step(self, batches: Sequence[Sequence[int]]) -> None:
        """One update of every seed on its own batch, rows of the fit part."""
        self.model.train()
        self.model.encoder.train(self.options.encoder_dropout)
        self.model.training = False  # its own flag alone: tensors of rows want texts apart
        examples = [self.task.fit[row] for batch in batches for row in batch]
        self.losses(examples, list(map(len, batches))).sum().backward()
        clip_by_seed(list(self.stacked.values()), self.options.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()

    def losses(self, examples: Sequence[Example], counts: list[int]) -> Tensor:
        """Every seed's mean loss, (S), on its own examples: `counts` of them, in their order."""
        batch: Batch = {
            name: tensor.to(self.device)
            for name, tensor in collate(examples, self.task.facts.pad_id).items()
        }
        labels = batch.pop("labels")
        rows = {name: by_rows(tensor, counts) for name, tensor in self.stacked.items()}
        with self.passes():
            logits: Tensor = functional_call(self.model, rows, kwargs=batch)
            parts = zip(logits.split(counts), labels.split(counts), strict=True)
            return torch.stack([task_loss(*part) for part in parts])

    @torch.no_grad()
    def evaluate(self) -> None:
        """Keep the weights of every seed that are its best so far."""
        self.model.eval()
        selection, seeds = self.task.selection, len(self.best)
        losses = torch.zeros(seeds, dtype=torch.float64, device=self.device)
        for index in by_length(selection, BATCH_SIZE):
            examples = [selection[row] for row in index]
            found = self.losses(examples * seeds, [len(index)] * seeds)
            losses += found.double() * (len(index) / len(selection))
        for seed, loss in enumerate(losses.tolist()):
            if loss < self.least[seed]:
                self.least[seed] = loss
                self.best[seed] = {name: t[seed].clone() for name, t in self.stacked.items()}


def by_rows(tensor: Tensor, counts: Sequence[int]) -> Tensor:
    """(S, …) → (R, …), that of seed s `counts[s]` times.

    Not by an index, whose backward pass on a GPU is slow where it has to be deterministic.
    """
    parts = zip(tensor, counts, strict=True)
    return torch.cat([each.expand(count, *each.shape) for each, count in parts])


def clip_by_seed(tensors: Sequence[nn.Parameter], most: float) -> None:
    """Scale every seed's gradients, those at its place of the tensors (S, …), to norm `most`.

    As `torch.nn.utils.clip_grad_norm_` scales all of them.
    """
    found = [tensor.grad for tensor in tensors if tensor.grad is not None]
    norms = torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1) for g in found])
    scale = (most / (torch.linalg.vector_norm(norms, dim=0) + 1e-6)).clamp(max=1.0)
    for gradient in found:
        gradient.mul_(scale.view(-1, *[1] * (gradient.dim() - 1)))
