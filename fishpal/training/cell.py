"""An encoder's folder, a tokenised task and a plan → the trained model, and its files."""

from pathlib import Path

from fishpal.encoders.encoder import load_encoder
from fishpal.models.classifier import Classifier
from fishpal.models.device import pick_device
from fishpal.models.head import start_head
from fishpal.models.planned import plan_model
from fishpal.models.trained import TrainedCard, load, save
from fishpal.params.options import HeadOptions, TrainOptions
from fishpal.records.facts import TaskFacts
from fishpal.records.finished import Finished, Outputs
from fishpal.records.paths import CARD, PLAN
from fishpal.records.plan import Plan
from fishpal.records.results import Curve, Seconds
from fishpal.records.task import TokenisedTask
from fishpal.training.checkpoint import Checkpoint
from fishpal.training.compress import compress
from fishpal.training.pilot import SEED, Raced
from fishpal.training.run import Training
from fishpal.training.starts import train_plan
from fishpal.training.train import device_name


def train_cell(
    plan: Plan,
    seed: int,
    folder: Path,
    tokens: Path,
    head: HeadOptions,
    options: TrainOptions,
    checkpoint: Checkpoint,
) -> tuple[Classifier, Plan, TaskFacts, Training]:
    """The model that `plan` makes of the encoder in `folder`, trained on the task in `tokens`.

    With its own plan (`train_plan`), the task's facts, and what happened.
    """
    encoder = load_encoder(folder)
    task = TokenisedTask.load(tokens, encoder.limits)

    def start(head: HeadOptions) -> Classifier:
        first = start_head(encoder, task, head)
        return plan_model(encoder, first, plan, seed, options.train_head, task)

    model, plan, result = train_plan(start, plan, task, options, seed, head, checkpoint)
    return model, plan, task.facts, result


def compress_cell(
    whole: Outputs, plan: Plan, seed: int, folder: Path, tokens: Path, options: TrainOptions
) -> tuple[Classifier, Plan, TaskFacts, Training]:
    """As `train_cell`, of a cell that is trained already but for the plan's `compress`."""
    encoder = load_encoder(folder).to(pick_device(options.device))
    task, card = TokenisedTask.load(tokens, encoder.limits), TrainedCard.load(whole.folder / CARD)
    model, curve = load(encoder, whole.folder), list(Curve.load(whole.files[0]).points)
    result = Training(curve, card.best_update, precision=card.precision)
    plan = compress(model, plan, task, options, seed, card.precision)
    return model, plan, task.facts, result


def save_cell(
    model: Classifier, plan: Plan, task: TaskFacts, result: Training, seed: int, outputs: Outputs
) -> None:
    """Write the trained folder and the curve, the first of the files of `outputs`."""
    Curve(tuple(result.curve)).save(outputs.files[0])
    best, precision = result.best_update, result.precision
    save(model, plan, outputs.folder, task=task, seed=seed, best=best, precision=precision)


def save_raced(
    raced: Raced, plan: Plan, task: TaskFacts, folder: Path, device: str
) -> Finished | None:
    """The pilot's last arm as a cell of its seed and this plan, where it is one."""
    found, arm = raced.trained(plan), raced.last
    if found is None or arm is None:
        return None
    outputs = Outputs(folder, (folder.with_suffix(".csv"), folder.with_suffix(".json")), own=PLAN)
    save_cell(found[0], plan, task, found[1], SEED, outputs)
    Seconds(round(arm.seconds, 3), device_name(device)).save(outputs.files[1])
    return Finished.of(outputs)
