"""A trained model that takes texts and gives class names, or numbers."""

import tempfile
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax

from fishpal.api.card import Scores, write_card
from fishpal.api.columns import as_columns
from fishpal.api.encoder import TextEncoder, found_folder, load_encoder, shared_weights
from fishpal.api.origin import ORIGIN, Origin, read_origin
from fishpal.api.task import Task, warn_of_texts
from fishpal.common.checks import check_types
from fishpal.common.errors import DataError, PlanError, brief, caution
from fishpal.common.files import replacing
from fishpal.common.kinds import MetricName
from fishpal.encoders.tokenizer import encode, examples_of, readable
from fishpal.evaluation.evaluate import evaluate
from fishpal.models.batching import check_batch_size
from fishpal.models.classifier import Classifier
from fishpal.models.predict import check_finite, check_pair, decide, predict
from fishpal.models.trained import TrainedCard, load, save
from fishpal.records.examples import Example
from fishpal.records.facts import TaskFacts
from fishpal.records.paths import CARD, PLAN
from fishpal.records.plan import Plan
from fishpal.tasks.clean import NO_TEXT
from fishpal.tokens.scaling import far_label
from fishpal.training.run import Training


@dataclass
class Model:
    """A plan's modules in an encoder, with a head.

    Attributes:
        module: the `torch.nn.Module`, which takes token ids, in an encoder of its own.
        encoder: that this one shares its frozen weights with, free for other models.
        max_length: tokens that a text is cut to, with a warning.
        training: what `fit` saw, with the learning curve, which a folder does not keep; None where
            nothing was trained.
        scores: what `evaluate` has noted.
    """

    module: Classifier
    plan: Plan
    encoder: TextEncoder
    max_length: int = 128
    seed: int = 0
    training: Training | None = None
    scores: list[Scores] = field(default_factory=list)

    @property
    def task(self) -> TaskFacts:
        """What it is trained for."""
        if self.module.task is None:
            raise PlanError("the model knows no task; allowed: one of `fit` or `load_model`")
        return self.module.task

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Class names in the order of `predict_proba`; None: a regression."""
        return self.task.labels

    def predict(self, texts: Any, batch_size: int = 64) -> list[str] | list[float]:
        """The class name, or number, of each text or pair of texts."""
        found = decide(self.logits(texts, batch_size), self.task).tolist()
        return [self.classes[i] for i in found] if self.classes else found

    def predict_proba(self, texts: Any, batch_size: int = 64) -> NDArray[np.float64]:
        """Probabilities (n, C), in the order of `classes`."""
        if self.classes is None:
            raise DataError("predict_proba of a regression; allowed: predict")
        return softmax(self.logits(texts, batch_size).astype(np.float64), axis=1)

    def logits(self, texts: Any, batch_size: int = 64) -> NDArray[np.float32]:
        """What the head gives: (n, C), or (n, 1) of the standardised target."""
        check_batch_size(batch_size)
        columns = as_columns(texts)
        if not columns[0]:
            return np.empty((0, self.task.outputs), dtype=np.float32)
        check_pair(len(columns) == 2, self.task, "texts")
        columns = [[_text(row, text) for row, text in enumerate(column)] for column in columns]
        encoded = encode(self.encoder.tokenizer, columns, self.max_length, self.encoder.limits)
        warn_of_texts(encoded, self.encoder.tokenizer, "texts", self.max_length)
        unknown = [0 if self.classes else 0.0] * len(columns[0])
        examples = examples_of(encoded, unknown)
        found = predict(self.module, examples, self.task, batch_size, progress=True)
        check_finite(found, "texts")
        return found

    def evaluate(self, task: Task, batch_size: int = 64) -> dict[str, float]:
        """`n`, `loss` and the task's metrics on all of its rows; noted for the model card, in the
        place of what was noted under the task's name before.

        Texts are cut as in `predict`: at the model's own `max_length`, not at the task's. F1 is
        that of the second of two classes: of a model with more, it is the macro F1, with a
        warning, also where no more than two occur in the task.

        Raises:
            DataError: where the task has a class that the model does not know, or pairs of texts
                that it does not take.
            ParamsError: `batch_size` is no integer from 1.
        """
        check_types(task=(task, Task))
        check_batch_size(batch_size)
        check_pair("text_pair" in task.rows, self.task, f"texts of {task.name}")
        if not len(task):
            raise DataError(f"{task.name}: has no rows; allowed: one or more")
        if self.task.scale is not None and task.classes is None:
            far_label(task.rows["label"].to_numpy(), self.task.scale, task.name, "evaluation")
        cut = replace(task, options=replace(task.options, max_length=self.max_length))
        examples = self._own_classes(task, cut.examples(self.encoder))
        splits, metrics = [(task.name, examples)], task.spec.metrics
        if MetricName.F1 in metrics and self.task.outputs > 2:
            what = f"f1 is that of two classes, and the model has {self.task.outputs}"
            caution(f"{task.name}: {what}: macro_f1 instead")
            metrics = tuple(MetricName.MACRO_F1 if m == MetricName.F1 else m for m in metrics)
        found = evaluate(self.module, splits, self.task, metrics, batch_size, progress=True)
        others = [each for each in self.scores if each.task != task.name]
        self.scores = [*others, Scores.of(task.name, *found, self.task.outputs)]
        return found[0][task.name]

    def copy(self, full: bool = False) -> "Model":
        """The same model once more; where `full`, with copies of the encoder's weights, too."""
        with tempfile.TemporaryDirectory(prefix="fishpal-") as folder:
            self.save(Path(folder, "model"))
            copied = load_model(Path(folder, "model"), self.encoder, full=full)
        return replace(copied, training=self.training)

    def __copy__(self) -> "Model":
        """One that has the same module: no further copy of anything."""
        return replace(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Model":
        """One to be trained on by itself, that shares the encoder's frozen weights as this does."""
        memo |= shared_weights(self.module.encoder, self.encoder.model)
        return replace(self, **{n: deepcopy(value, memo) for n, value in vars(self).items()})

    def __reduce__(self) -> tuple[Any, ...]:
        """The bytes of what `save` writes: modules are hooks, which no pickle can hold.

        As with `save`, the encoder is found again where it lies, and only what inference needs is
        kept; plan, curve and scores are as they were.
        """
        with tempfile.TemporaryDirectory(prefix="fishpal-") as folder:
            self.save(Path(folder, "model"))
            files = {path.name: path.read_bytes() for path in Path(folder, "model").iterdir()}
        kept = {name: getattr(self, name) for name in ("plan", "training", "scores")}
        return _restored, (files,), kept

    def _own_classes(self, task: Task, examples: list[Example]) -> list[Example]:
        """The examples with their labels as this model counts its classes."""
        if (task.classes is None) != (self.classes is None):
            kinds = ("a regression", "a classification")
            found, own = (kinds[c is not None] for c in (task.classes, self.classes))
            hint = " (regression=True)" if self.classes is None else ""
            raise DataError(f"{task.name} is {found}; allowed: {own}, as the model is{hint}")
        if task.classes is None or self.classes is None:
            return examples
        present = {task.classes[int(each.label)] for each in examples}
        unknown = ", ".join(sorted(present - set(self.classes)))
        if unknown:
            raise DataError(f"{task.name} has labels {unknown}; allowed: {', '.join(self.classes)}")
        place = [self.classes.index(c) if c in present else -1 for c in task.classes]
        return [replace(each, label=place[int(each.label)]) for each in examples]

    def save(self, folder: str | Path, licence: str | None = None) -> None:
        """Write what was trained and a model card, without the encoder, whole or not at all.

        `load_model` finds the encoder again where it lies now, or on the hub. `licence` is the
        model's, by the hub's names (`apache-2.0`).
        """
        check_types(folder=(folder, (str, Path)))
        revision = self.encoder.revision
        where = self.encoder.name if revision else str(self.encoder.folder)
        training = self.training or Training()
        best, precision = training.best_update, training.precision
        with replacing(folder, TrainedCard.lies_in, self.encoder.folder) as draft:
            save(
                self.module, self.plan, draft,
                task=self.task, seed=self.seed, best=best, precision=precision,
            )  # fmt: skip
            digests = self.encoder.tokens_sha256, self.encoder.config_sha256
            origin = Origin(where, revision, self.max_length, tuple(self.scores), *digests)
            origin.save(draft / ORIGIN)
            write_card(draft, self, "fishpal", licence)


def _text(row: int, text: Any) -> str:
    """A text, or a whole number as one (so are a task's); `DataError` for anything else."""
    if isinstance(text, int | np.integer) and not isinstance(text, bool):
        return str(text)
    bad = NO_TEXT.search(text) if isinstance(text, str) else None
    if bad:
        found = f"text with {ascii(bad[0])} (NUL or a lone surrogate)"
        raise DataError(f"texts: row {row + 1} is {found}; allowed: texts")
    if not isinstance(text, str):
        raise DataError(f"texts: row {row + 1} is {brief(repr(text))}; allowed: texts")
    return text


def _restored(files: dict[str, bytes]) -> Model:
    """A model of the files that `Model.save` wrote, by name."""
    with tempfile.TemporaryDirectory(prefix="fishpal-") as folder:
        for name, content in files.items():
            Path(folder, name).write_bytes(content)
        return load_model(folder)


@torch.inference_mode(False)  # a caller's: what is loaded may be trained on
def load_model(
    folder: str | Path,
    encoder: TextEncoder | str | Path | None = None,
    revision: str | None = None,
    *,
    full: bool = False,
) -> Model:
    """Read what `Model.save` wrote, or a folder of `artifacts/trained/`; bit-equal logits.

    Args:
        folder: or a name on the hub, there at `revision`. One of the pipeline's does not say at
            how many tokens texts are cut: `Model.max_length` is then 128.
        encoder: that it was trained in; None: where it lay when the model was saved.
        full: whether the model gets copies of the encoder's weights, to be changed.

    Raises:
        PlanError: a file is missing or malformed, or the encoder is another one.
        EncoderError, SourceError: the encoder cannot be loaded.
    """
    folder = found_folder(folder, revision)
    card, plan = TrainedCard.load(folder / CARD), Plan.load(folder / PLAN)
    origin = read_origin(folder, encoder is not None, Model.max_length)
    if encoder is None:
        encoder = load_encoder(origin.encoder, card.pooling, origin.revision)
    elif not isinstance(encoder, TextEncoder):
        encoder = load_encoder(encoder, card.pooling)
    origin.check(encoder, folder)
    module = load(encoder.twin(full or plan.full), folder)
    best, precision = card.best_update, card.precision
    training = Training(best_update=best, precision=precision)
    found = None if training == Training() else training  # as of a start that was saved
    length = readable(origin.max_length, encoder.limits)
    return Model(module, plan, encoder, length, card.seed, found, [*origin.scores])
