"""Smaller modules for a model that is trained."""

from dataclasses import replace
from types import NoneType

from fishpal.api.model import Model
from fishpal.api.task import Task
from fishpal.common.checks import check, check_types
from fishpal.common.errors import DataError
from fishpal.params.options import TrainOptions
from fishpal.training.apart import apart
from fishpal.training.compress import compress as in_place
from fishpal.training.run import Training


@apart()
def compress(
    model: Model,
    task: Task,
    share: float | None = None,
    margin: float | None = None,
    options: TrainOptions | None = None,
) -> Model:
    """A copy whose adapters and LoRAs are smaller, and trained on for a quarter of the model's own
    training (`fishpal.training.compress`); the model stays as it is.

    Args:
        task: that the model was trained on.
        share: of the parameters of each kind that stay.
        margin: instead of it: half of them stay, half of that and so on, while the selection loss
            is shown to rise by less; in nats, or half squared standardised errors of a regression.
        options: as in `fit`.

    Raises:
        DataError: the task is another one.
        ParamsError: `share` or `margin` is out of its range, or not just one of them is given.
        TrainingError: a loss stops being finite.
    """
    check_types(model=(model, Model), task=(task, Task))
    check_types(options=(options, (TrainOptions, NoneType)))
    one = "a number, where margin is None"
    check((share is None) != (margin is None), "share", share, one)
    asked = replace(model.plan, compress=share, margin=margin)
    tokens, own = task.tokenised(model.encoder), model.task
    if replace(tokens.facts, name=own.name) != own:
        raise DataError(f"{task.name} is another task than the model's; allowed: {own.name}")
    small, precision = model.copy(), (model.training or Training()).precision
    given = (tokens, options or TrainOptions(), model.seed, precision)
    return replace(small, plan=in_place(small.module, asked, *given))
