"""Weights that all plans share: trained once, with all candidates in place or by random plans.

Every plan is then scored without a training of its own, and every candidate by what its removal
would cost: Fisher saliency ½ Σ F θ² (Theis et al. 2018), Taylor's |Σ g θ| (Molchanov et al. 2019),
and the loss without it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from fishpal.fisher.estimators import score_vector
from fishpal.fisher.gradients import logit_gradients
from fishpal.models.batching import by_length, collate, endless_batches
from fishpal.models.calibration import calibrate
from fishpal.models.head import start_head
from fishpal.models.planned import plan_model
from fishpal.models.predict import predict
from fishpal.modules import CandidateModule
from fishpal.params.load import Params
from fishpal.records.examples import lengths
from fishpal.records.plan import Plan, Reason
from fishpal.training.run import TrainingRun
from fishpal.training.train import start_accelerator
from studies.criteria.design.plans import KINDS, Layers
from studies.criteria.design.settings import Way
from studies.criteria.trainings.inputs import Data, fresh_encoder

Key = tuple[int, str]
RowScores = dict[Key, float]


@dataclass(frozen=True)
class Shared:
    """A model whose modules can be taken out and put back, and how it is trained."""

    run: TrainingRun
    data: Data
    modules: dict[Key, CandidateModule]

    def use(self, wanted: Sequence[Key]) -> None:
        """Have just these candidates in place."""
        self.run.model.detach()
        if wanted:
            self.run.model.attach([self.modules[key] for key in self.modules if key in wanted])

    def loss(self, wanted: Sequence[Key]) -> float:
        """Calibrated selection loss with just these candidates."""
        self.use(wanted)
        task = self.data.task
        with self.run.passes():
            logits = predict(self.run.model, task.selection, task.facts)
        return calibrate(logits, [example.label for example in task.selection]).loss

    def losses(self, plans: Sequence[Layers]) -> list[float]:
        """Of every plan."""
        return [self.loss(keys_of(plan)) for plan in plans]

    def ablation(self) -> RowScores:
        """What the loss of all together gains by each candidate's removal."""
        whole = self.loss(list(self.modules))
        return {
            key: self.loss([other for other in self.modules if other != key]) - whole
            for key in self.modules
        }

    def saliency(self, examples: int, batch: int) -> dict[str, RowScores]:
        """`fisher` and `taylor` of every candidate with all in place, on examples of fit."""
        self.use(list(self.modules))
        model, fit = self.run.model, self.data.task.fit[:examples]
        keys, pad_id = list(self.modules), self.data.task.facts.pad_id
        squares, firsts = np.zeros(len(keys)), np.zeros(len(keys))
        model.eval()
        for index in by_length(fit, batch):
            inputs = collate([fit[i] for i in index], pad_id)
            found = logit_gradients(model, [self.modules[key] for key in keys], inputs)
            vector = score_vector(found.logits, inputs["labels"])
            (gradients,) = found.gradients([vector])
            for place, (key, own) in enumerate(zip(keys, gradients, strict=True)):
                kept = self.modules[key].kept()
                products = [own[name] * kept[name].detach() for name in own]
                squares[place] += sum(float(product.square().sum()) for product in products)
                firsts[place] += sum(float(product.sum()) for product in products)
        fisher = dict(zip(keys, (0.5 * squares / len(fit)).tolist(), strict=True))
        taylor = dict(zip(keys, np.abs(firsts / len(fit)).tolist(), strict=True))
        return {"fisher": fisher, "taylor": taylor}


def keys_of(plan: Layers) -> list[Key]:
    """A plan's candidates."""
    return [(layer, kind) for layer, kind in enumerate(plan) if kind is not None]


def train_shared(params: Params, data: Data, way: Way, seed: int) -> Shared:
    """Train all candidates together, or those of a random plan in each update."""
    encoder, facts = fresh_encoder(), data.task.facts
    plan = Plan(
        facts.name,
        "shared",
        encoder.facts,
        ("+".join(kind.value for kind in KINDS),) * encoder.facts.layers,
        Reason("uniform"),
        modules=params.modules,
        learning_rate=params.train.learning_rate.fixed(),
    )
    head = start_head(encoder, data.task, params.head)
    model = plan_model(encoder, head, plan, seed, params.train.train_head, data.task)
    options = replace(params.train, epochs=None, updates=way.updates)
    accelerator = start_accelerator(options, seed)
    run = TrainingRun(model, plan, data.task, options, accelerator, way.updates)
    shared = Shared(run, data, {(each.layer, each.kind): each for each in model.candidates()})
    drawn, fit = random_plans(seed, encoder.facts.layers), data.task.fit
    rng = np.random.default_rng(seed)
    batches = endless_batches(lengths(fit), options.batch_size, rng)
    for update, batch in zip(range(1, way.updates + 1), batches, strict=False):
        if way.one_shot:
            shared.use(keys_of(next(drawn)))
        run.step([fit[i] for i in batch], batch, (seed, update))
    return shared


def random_plans(seed: int, layers: int) -> Iterator[Layers]:
    """Any kind or none at each layer, all alike."""
    rng = np.random.default_rng([seed, 2])
    choices = (None, *KINDS)
    while True:
        yield tuple(choices[i] for i in rng.integers(len(choices), size=layers))


def shared_scores(
    params: Params, data: Data, way: Way, seed: int, plans: Sequence[Layers]
) -> dict[str, Any]:
    """Score → of every plan, higher is better."""
    torch.set_num_threads(1)
    shared = train_shared(params, data, way, seed)
    found = {"shared weights": [-loss for loss in shared.losses(plans)]}
    if way.one_shot:
        return found
    rows = shared.saliency(params.fisher.examples, params.fisher.batch_size)
    for name, scores in (rows | {"ablation": shared.ablation()}).items():
        found[name] = [sum(scores[key] for key in keys_of(plan)) for plan in plans]
    return found
