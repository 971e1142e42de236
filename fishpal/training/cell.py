"""An encoder's folder, a tokenised task and a plan → the trained model."""

from pathlib import Path

from fishpal.encoders.encoder import load_encoder
from fishpal.models.classifier import Classifier
from fishpal.models.head import start_head
from fishpal.models.planned import plan_model
from fishpal.params.options import HeadOptions, TrainOptions
from fishpal.records.facts import TaskFacts
from fishpal.records.plan import Plan
from fishpal.records.task import TokenisedTask
from fishpal.training.checkpoint import Checkpoint
from fishpal.training.run import Training
from fishpal.training.starts import train_plan


def train_cell(
    plan: Plan,
    seed: int,
    folder: Path,
    tokens: Path,
    head: HeadOptions,
    options: TrainOptions,
    checkpoint: Checkpoint,
) -> tuple[Classifier, TaskFacts, Training]:
    """The model that `plan` makes of the encoder in `folder`, trained on the task in `tokens`.

    With the task's facts, and what happened.
    """
    encoder = load_encoder(folder)
    task = TokenisedTask.load(tokens, encoder.limits)

    def start(head: HeadOptions) -> Classifier:
        first = start_head(encoder, task, head)
        return plan_model(encoder, first, plan, seed, options.train_head, task)

    model, result = train_plan(start, plan, task, options, seed, head, checkpoint)
    return model, task.facts, result
