"""Training a plan from the head's start, the head alone from two of them; and compressing it."""

from collections.abc import Callable
from dataclasses import replace

from fishpal.common.kinds import HeadInit
from fishpal.models.classifier import Classifier
from fishpal.params.options import HeadOptions, TrainOptions
from fishpal.records.plan import Plan
from fishpal.records.task import TokenisedTask
from fishpal.training.checkpoint import Checkpoint
from fishpal.training.compress import compress
from fishpal.training.run import Training
from fishpal.training.train import train


def train_plan(
    start: Callable[[HeadOptions], Classifier],
    plan: Plan,
    task: TokenisedTask,
    options: TrainOptions,
    seed: int,
    head: HeadOptions,
    checkpoint: Checkpoint | None = None,
) -> tuple[Classifier, Plan, Training]:
    """The trained model, its plan, and what happened (`training.train`, which raises).

    The plan is the given one but where that asks for smaller modules afterwards.

    The head alone is what modules have to beat, and must not be weak by its training. From a
    random start it stops early, which regularises where rows are few, and stays far from its
    optimum where labels ask for large weights (the length of a text); a probe is the reverse. So it
    is trained from either, and the one of the lower selection loss is kept, the first of equals.

    Args:
        start: gives the model that training starts from, its head as the options say.
        head: the start of the head, of every plan with modules the only one.
        checkpoint: as in `train`; the head alone, which takes seconds, has none.
    """
    if not plan.bare or not options.train_head or head.init == HeadInit.PROBE:
        model = start(head)
        training = train(model, plan, task, options, seed, checkpoint=checkpoint)
        plan = compress(model, plan, task, options, seed, training.precision)
        return model, plan, training
    trained = []
    for each in (head, replace(head, init=HeadInit.PROBE)):
        model = start(each)
        trained.append((model, train(model, plan, task, options, seed)))
    model, training = min(trained, key=lambda found: found[1].best_loss)
    return model, plan, training
