"""From a task to a trained model, by the functions that the pipeline's stages call."""

from dataclasses import dataclass, replace
from types import NoneType
from typing import Any

from fishpal.api.encoder import TextEncoder
from fishpal.api.model import Model
from fishpal.api.task import Task
from fishpal.common.checks import check_seed, check_types
from fishpal.common.choices import modules_of
from fishpal.common.errors import caution
from fishpal.common.fields import plain
from fishpal.encoders.tokenizer import readable
from fishpal.fisher.engine import measure_fisher
from fishpal.models.classifier import Classifier
from fishpal.models.head import start_head
from fishpal.models.planned import plan_model
from fishpal.params.methods import BaseMethod, ByCriterion, Method, Race
from fishpal.params.module_options import ModuleOptions
from fishpal.params.options import (
    FisherOptions,
    HeadOptions,
    RateOptions,
    SelectOptions,
    TrainOptions,
)
from fishpal.records.fisher_table import FisherTable
from fishpal.records.grams import Grams
from fishpal.records.pilot import Pilot
from fishpal.records.plan import Plan
from fishpal.selection.arms import pilot_plans
from fishpal.selection.methods import select_plan
from fishpal.training.apart import apart
from fishpal.training.pilot import SEED, Raced, run_pilot
from fishpal.training.starts import train_plan
from fishpal.training.train import fixed_updates


@dataclass(frozen=True)
class Measurement:
    """What was measured before a choice.

    Attributes:
        table, grams: of every candidate, and what criteria and rates need beyond the table.
        pilot: how long to train, and which kind learns best.
        rates: that the pilot trained at, and that plans are to have.
        raced: the pilot with its last arm, where trainings are as its own (`train.schedule`).
    """

    table: FisherTable
    grams: Grams
    pilot: Pilot
    rates: RateOptions
    raced: Raced | None = None


@apart()
def measure(
    encoder: TextEncoder,
    task: Task,
    options: FisherOptions | None = None,
    modules: ModuleOptions | None = None,
    head: HeadOptions | None = None,
    training: TrainOptions | None = None,
) -> Measurement:
    """Measure the Fisher information of every candidate, then run the pilot.

    Nothing of the encoder changes. The pilot trains a little (`fishpal.training.pilot`), unless
    `training` says how long to train and `pilot` is false.

    Args:
        options: which kinds, on how many examples, by which estimator.
        modules: the candidates' sizes.
        head: the start of the head, the same as in `fit`.
        training: as in `fit`.

    Raises:
        AttachError: the encoder cannot take one of the kinds, or is in use.
    """
    check_types(encoder=(encoder, TextEncoder), task=(task, Task))
    check_types(options=(options, (FisherOptions, NoneType)))
    check_types(modules=(modules, (ModuleOptions, NoneType)), head=(head, (HeadOptions, NoneType)))
    check_types(training=(training, (TrainOptions, NoneType)))
    tokens = task.tokenised(encoder)
    first = start_head(encoder, tokens, head or HeadOptions())
    options, modules = options or FisherOptions(), modules or ModuleOptions()
    training = training or TrainOptions()
    table, grams = measure_fisher(encoder, first, tokens, modules, options)
    rates = training.learning_rate

    def model(plan: Plan) -> Classifier:
        return _module(encoder, task, plan, SEED, head or HeadOptions(), training.train_head)

    arms = pilot_plans(table, grams, rates, training.race if training.has_pilot else None)
    raced = run_pilot(model, arms, tokens, training)
    whole = raced if raced.pilot.averaged else None  # else let the arms go
    return Measurement(table, grams, raced.pilot, rates, whole)


def select(
    measured: Measurement,
    method: Method | None = None,
    options: SelectOptions | None = None,
    rates: RateOptions | None = None,
) -> Plan:
    """The plan of one method: by default, the kind that did best in the pilot, at every layer,
    or, where there was none, that of the highest score under `options.criterion`.

    `options` are those of rules `criterion` and `random`, which alone keep to a budget.

    Raises:
        PlanError: where nothing is within the budget, or a kind was not measured.
    """
    check_types(measured=(measured, Measurement), method=(method, (BaseMethod, NoneType)))
    check_types(
        options=(options, (SelectOptions, NoneType)), rates=(rates, (RateOptions, NoneType))
    )
    method = method or (Race() if measured.pilot.arms else ByCriterion())
    rates, options, name = rates or measured.rates, options or SelectOptions(), method.rule
    return select_plan(measured.table, measured.grams, name, method, options, rates, measured.pilot)


@apart()
def start(
    encoder: TextEncoder,
    task: Task,
    plan: Plan,
    seed: int = 0,
    head: HeadOptions | None = None,
    train_head: bool = True,
) -> Model:
    """The model as training starts from it, for a loop of your own (`Model.module`).

    The encoder stays free for other models; weights are shared, unless the plan trains them all.
    The module takes a regression's labels standardised: `Model.task.standardise(label)`. `seed`
    is that of the modules; `ParamsError` for none.
    """
    check_types(encoder=(encoder, TextEncoder), task=(task, Task), plan=(plan, Plan))
    check_types(head=(head, (HeadOptions, NoneType)))
    seed = _seed(seed)
    module = _module(encoder, task, plan, seed, head or HeadOptions(), train_head)
    return Model(module, plan, encoder, _length(encoder, task), seed)


def _module(
    encoder: TextEncoder,
    task: Task,
    plan: Plan,
    seed: int,
    head: HeadOptions,
    train_head: bool,
) -> Classifier:
    """Without a word on random numbers: a pilot's arms go on with those that are left."""
    tokens, own = task.tokenised(encoder), encoder.twin(plan.full)
    module = plan_model(own, start_head(own, tokens, head), plan, seed, train_head, tokens)
    module.task = tokens.facts
    return module


@apart()
def fit(
    encoder: TextEncoder,
    task: Task,
    plan: Plan | None = None,
    seed: int = 0,
    options: TrainOptions | None = None,
    head: HeadOptions | None = None,
) -> Model:
    """Train a plan; without one, measure and select it first, where the pilot's last arm may be
    the training already (`train.schedule` averaged, seed 0).

    Args:
        seed: of the modules' start, of dropout and of the order of examples.
        options: batch size, epochs, schedule and the like. A length that they fix goes before the
            plan's own; the plan's rates go before theirs. Either is warned about.

    Raises:
        AttachError: the plan is for another encoder.
        ParamsError: the seed is none.
        TrainingError: a loss stops being finite.
    """
    check_types(encoder=(encoder, TextEncoder), task=(task, Task), plan=(plan, (Plan, NoneType)))
    check_types(options=(options, (TrainOptions, NoneType)), head=(head, (HeadOptions, NoneType)))
    seed = _seed(seed)
    options, tokens = options or TrainOptions(), task.tokenised(encoder)
    if options.processes > 1:
        what = f"options ask for {options.processes} processes, which the pipeline starts"
        caution(f"{what}: fit trains in those that call it")
    if plan is None:
        measured = measure(encoder, task, head=head, training=options)
        chosen = select(measured)
        if seed == SEED and measured.raced and (found := measured.raced.trained(chosen)):
            return Model(found[0], chosen, encoder, _length(encoder, task), seed, training=found[1])
    else:
        chosen = _asked(plan, options, len(tokens.fit))

    def start(head: HeadOptions) -> Classifier:
        return _module(encoder, task, chosen, seed, head, options.train_head)

    given = (chosen, tokens, options, seed, head or HeadOptions())
    module, chosen, training = train_plan(start, *given)
    return Model(module, chosen, encoder, _length(encoder, task), seed, training=training)


def _length(encoder: TextEncoder, task: Task) -> int:
    """Tokens that texts are cut to, in training and after."""
    return readable(task.options.max_length, encoder.limits)


def _seed(seed: Any) -> int:
    """Python's number, whoever's it is; `ParamsError` for none that all take."""
    number: int = plain(seed)
    check_seed("seed", number)
    return number


def _asked(plan: Plan, options: TrainOptions, examples: int) -> Plan:
    """The plan at the length that options fix; warns where these ask for something else."""
    usual, rates = RateOptions(), vars(options.learning_rate).items()
    asked = {kind: rate for kind, rate in rates if rate not in ("auto", getattr(usual, kind))}
    used: list[tuple[str, int | None]]
    used = [(m.kind, i) for i, word in enumerate(plan.layers) for m in modules_of(word)]
    others = {"head": options.train_head, "full": plan.full, "gate": plan.modules.gates}
    used += [(part, None) for part, trained in others.items() if trained]
    found = dict.fromkeys((part, plan.rate(part, layer)) for part, layer in used)
    differ = [(part, rate) for part, rate in found if asked.get(part, rate) != rate]
    if differ:
        what = ", ".join(f"{part} at {asked[part]:g} (plan: {rate:g})" for part, rate in differ)
        caution(f"options ask for {what}: trained at the plan's rates")
    fixed = fixed_updates(options, examples)
    if fixed is None:
        return plan
    if plan.updates not in (None, fixed):
        what = f"options ask for {fixed} updates, the plan for {plan.updates}"
        caution(f"{what}: trained for {fixed}, at the plan's rates")
    return replace(plan, updates=fixed)
