"""A trained model with smaller modules, as small as asked for or as its loss allows."""

from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fishpal.common.errors import caution
from fishpal.compression.cut import cut_module
from fishpal.compression.moments import inner_moments
from fishpal.compression.sizes import compressible, smaller_plan
from fishpal.models.classifier import Classifier
from fishpal.models.paired import one_sided
from fishpal.models.precision import Passes
from fishpal.models.predict import losses, predict
from fishpal.modules import CandidateModule
from fishpal.params.options import LearningRates, TrainOptions
from fishpal.records.facts import Precision
from fishpal.records.plan import Plan
from fishpal.records.task import TokenisedTask
from fishpal.training.train import fixed_updates, train

EXAMPLES = 1024  # of fit, of some ten tokens each: fifty times the inner units of most modules
HALVINGS = 10  # within a margin, at most: to a thousandth
QUARTER = 0.25  # of the training that follows a cut once more


def compress(
    model: Classifier,
    plan: Plan,
    task: TokenisedTask,
    options: TrainOptions,
    seed: int,
    precision: Precision,
) -> Plan:
    """Make the modules of a model that was trained by the plan smaller, in place, if it says so.

    Each adapter and LoRA becomes the one of the smaller size that puts out most nearly the same on
    the fit part's tokens (`fishpal.compression.reconstruction`); then all train on as in the last
    quarter of their training ("learning rate rewinding", Renda, Frankle & Carbin 2020). Other
    kinds, and modules with a size of their own, keep theirs. Whole networks, too, are better
    trained large and then made small than trained small (Li et al. 2020, "Train large, then
    compress").

    By `plan.compress` so large a share of the parameters of each kind may stay; by `plan.margin`
    half of them, half of that and so on, while the loss on the selection part is shown (one-sided,
    95 %, example by example) to be less than the margin above the uncompressed model's. The first
    that is not ends it, so that all of these tests together err in one case of twenty.

    Args:
        options, seed: of the training.
        precision: that the training had.

    Returns:
        The plan of what the model is now.
    """
    if not plan.compresses:
        return plan
    name, share = task.facts.name, plan.compress
    if not any(map(compressible, model.candidates())):
        caution(f"task {name}: {plan.method} has no modules that can be compressed: all stay")
        return plan.whole()
    model.trained = model.parameter_counts().trainable
    before = after = _losses(model, task, precision)
    whole = found = smaller_plan(plan, model.candidates(), 1.0)
    for each in [share] if share is not None else [0.5] * HALVINGS:
        smaller, kept = smaller_plan(found, model.candidates(), each), _State.of(model)
        if smaller.kept == found.kept:
            break
        _cut(model, smaller, task, precision)
        train(model, last_quarter(smaller, task, options), task, options, seed)
        after = _losses(model, task, precision)
        more = after - before
        if plan.margin is not None and float(more.mean()) + one_sided(more) >= plan.margin:
            kept.put_back(model)
            break
        found = smaller
    if share is not None:
        _warn(after - before, found.kept / whole.kept, share, name)
    return found


@dataclass(frozen=True)
class _State:
    """What a model was before a cut."""

    head: dict[str, Tensor]
    modules: list[CandidateModule]

    @classmethod
    def of(cls, model: Classifier) -> "_State":
        return cls(deepcopy(model.head.state_dict()), list(model.candidates()))

    def put_back(self, model: Classifier) -> None:
        model.detach()
        model.head.load_state_dict(self.head)
        model.attach(self.modules)
        model.eval()


def _cut(model: Classifier, plan: Plan, task: TokenisedTask, precision: Precision) -> None:
    """Give the model modules of the plan's sizes in the place of its own, which do not change."""
    examples = [*task.fit[:: -(-len(task.fit) // EXAMPLES)]]
    passes = Passes(model, precision)
    moments = inner_moments(model, examples, task.facts.pad_id, passes)
    shapes = model.source.shapes
    model.attach([cut_module(m, moments, shapes[m.layer], plan.modules) for m in model.detach()])


def last_quarter(plan: Plan, task: TokenisedTask, options: TrainOptions) -> Plan:
    """The plan, to be trained at the rates and as long as the end of its own training, where these
    fall linearly to zero."""
    total = plan.updates or fixed_updates(options, len(task.fit)) or options.max_updates
    rates = {kind: rate * QUARTER for kind, rate in vars(plan.learning_rate).items()}
    sized = {word: rate * QUARTER for word, rate in plan.rates.items()}
    updates, own = max(1, int(total * QUARTER)), LearningRates(**rates)
    return replace(plan, learning_rate=own, rates=sized, updates=updates)


def _losses(model: Classifier, task: TokenisedTask, precision: Precision) -> NDArray[np.float64]:
    """(n) on the selection part."""
    with Passes(model, precision)():
        logits = predict(model, task.selection, task.facts)
    return losses(logits, [example.label for example in task.selection])


def _warn(more: NDArray[np.float64], kept: float, asked: float, name: str) -> None:
    """Where a share that was asked for costs loss for certain, or cannot be had."""
    if float(more.mean()) > one_sided(more):
        what = f"compressed to {asked:g} of its parameters"
        caution(f"task {name}: {what}, the selection loss is {more.mean():.3g} higher (shown)")
    if kept > asked:
        what = f"compressed to {kept:.2g} of its parameters (asked for {asked:g})"
        caution(f"task {name}: {what}: other modules, and biases, cannot be made smaller")
