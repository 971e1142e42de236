"""Trainings and measurements of the study, kept line by line: a run goes on where it was."""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.torch import load_file, save_file

from fishpal.api.encoder import TextEncoder, load_encoder
from fishpal.api.steps import Measurement, fit, measure
from fishpal.api.task import Task
from fishpal.common.errors import EncoderError, TrainingError
from fishpal.common.files import read_json, write_json
from fishpal.metrics import metric
from fishpal.models.classifier import Classifier
from fishpal.models.predict import decide, mean_loss, predict
from fishpal.params.options import (
    FisherOptions,
    HeadOptions,
    LearningRates,
    RateOptions,
    TrainOptions,
)
from fishpal.records.plan import Plan, Reason
from fishpal.selection.rates import FULL, LAWS, rate_of, resolve_rates
from fishpal.tasks.frames import read_frame
from fishpal.training.run import Training
from studies.rates.critical import critical_rate
from studies.rates.settings import (
    KINDS,
    ROOM,
    Case,
    Layers,
    Rows,
    Settings,
    Source,
    load_settings,
)

Line = dict[str, Any]
RESULTS = ROOM / "results"


@dataclass(frozen=True)
class Store:
    """Lines of one file, each known by some of its columns."""

    path: Path

    def lines(self) -> list[Line]:
        """All that is there."""
        text = self.path.read_text("utf-8") if self.path.is_file() else ""
        return [json.loads(line) for line in text.splitlines()]

    def find(self, **columns: Any) -> list[Line]:
        """The lines of these columns."""
        return [line for line in self.lines() if columns.items() <= line.items()]

    def of(self, case: Case, **columns: Any) -> list[Line]:
        """The lines of a case that have these columns."""
        return [line for line in self.find(**columns) if case.owns(line)]

    def add(self, line: Line) -> None:
        """Append a line."""
        self.path.parent.mkdir(exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


MEASURED = Store(RESULTS / "measured.jsonl")
TRAINED = Store(RESULTS / "trained.jsonl")


@cache
def encoder_of(given: Layers) -> TextEncoder:
    """An encoder (`dvc repro encoder`), or its lowest layers alone, as a model of their own."""
    whole, layers = load_encoder(given.folder), given.layers
    if layers == whole.facts.layers:
        return whole
    folder = RESULTS.parent / "artifacts" / f"lower_{layers}"
    if not folder.is_dir():
        shutil.copytree(given.folder, folder)
        config = read_json(folder / "config.json")
        write_json(folder / "config.json", config | {"num_hidden_layers": layers})
        (weights,) = folder.glob("*.safetensors")
        dropped = {f"encoder.layer.{n}." for n in range(layers, whole.facts.layers)}
        tensors = load_file(weights)
        left = {n: t for n, t in tensors.items() if not any(n.startswith(d) for d in dropped)}
        if len(left) == len(tensors):
            raise EncoderError(f"{weights}: has no tensor of {sorted(dropped)[0]}; allowed: BERT")
        save_file(left, weights, {"format": "pt"})
    return load_encoder(folder)


def task_options(name: str, source: Source, train: pd.DataFrame) -> dict[str, Any]:
    """What both parts of a task are made with: the classes are those of train."""
    named: dict[str, Any] = {"regression": source.regression, "name": name}
    classes = None if source.regression else sorted(train[source.label].unique().tolist())
    return named if classes is None else named | {"classes": classes}


@cache
def task_of(name: str) -> tuple[Task, Task]:
    """Train and evaluation rows, the first of each file."""
    settings = load_settings()
    source, rows = settings.tasks[name], settings.rows
    frames = [pd.read_json(ROOM / path, lines=True) for path in (source.train, source.test)]
    named = task_options(name, source, frames[0])
    make = lambda frame, **sizes: Task.from_frame(  # noqa: E731
        frame, list(source.text), source.label, **named, **sizes
    )
    evaluation = make(frames[1].head(rows.evaluation))
    return make(frames[0], fit=rows.fit, selection=rows.selection), evaluation


def drawn_task(name: str, source: Source, rows: Rows) -> tuple[Task, Task]:
    """Train rows, and evaluation rows drawn at random; files of the project's root."""
    columns, text = [*source.text, source.label], list(source.text)
    train, test = (read_frame(path, columns) for path in (source.train, source.test))
    named = task_options(name, source, train)
    drawn = test.sample(min(rows.evaluation, len(test)), random_state=0)
    task = Task.from_frame(
        train, text, source.label, fit=rows.fit, selection=rows.selection, **named
    )
    return task, Task.from_frame(drawn, text, source.label, **named)


def training(settings: Settings, case: Case) -> TrainOptions:
    """The project's, of a case's length; η* of the encoder counts where it was measured."""
    options = fixed_length(case.updates, settings.batch_size, settings.looks, settings.rows.fit)
    return replace(options, learning_rate=RateOptions(full="auto"))


def fixed_length(updates: int, batch_size: int, looks: int, fit: int) -> TrainOptions:
    """The project's training of so many updates, with looks evenly over them."""
    per_epoch = -(-fit // batch_size)
    return TrainOptions(
        updates=updates,
        pilot=False,
        batch_size=batch_size,
        evaluations_per_epoch=looks * per_epoch / updates,
    )


def measured(settings: Settings, case: Case) -> Line:
    """What `auto` rests on, and the critical rates that the line search needs of some cases.

    Measured now or before.
    """
    if not MEASURED.of(case):
        kinds = tuple(kind for kind in KINDS if kind in case.kinds) or KINDS[:1]
        encoder, (task, _) = encoder_of(settings.encoders[case.encoder]), task_of(case.task)
        start = time.process_time()
        found: Measurement = measure(
            encoder,
            task,
            FisherOptions(kinds=kinds, full=case.full, device="cpu"),
            settings.modules(case),
            head=HeadOptions(case.head),
            training=training(settings, case),
        )
        auto = resolve_rates(found.rates, found.table, found.grams, case.updates, case.full)
        seconds = time.process_time() - start
        searched = case in (*settings.cases, *settings.fitted.cases)
        plans = {kind: uniform(settings, case, kind, 1.0) for kind in case.kinds if searched}
        critical = {k: critical_rate(encoder, task, plan) for k, plan in plans.items()}
        line = case.columns() | {
            "reasons": {k: asdict(auto.reasons[k]) for k in case.kinds},
            "critical": critical,
            "seconds": round(seconds, 2),
        }
        MEASURED.add(line)
    return MEASURED.of(case)[0]


def auto_rate(found: Line, case: Case, kind: str) -> float:
    """By today's formula, of a measured case."""
    seen = found["reasons"][kind]
    return rate_of(kind, seen["step"], seen["signal"], case.updates).rate


def fixed_rate(kind: str) -> float:
    """The middle of its sweeps: the usual one, or, of full fine-tuning, params.yaml's default.

    The law of the latter was set on such sweeps.
    """
    return LearningRates.full if kind == FULL else LAWS[kind].usual


def uniform(settings: Settings, case: Case, kind: str, rate: float) -> Plan:
    """One kind at every layer, or the whole encoder, at a rate."""
    facts = encoder_of(settings.encoders[case.encoder]).facts
    return Plan(
        case.task,
        "uniform",
        facts,
        (None if kind == FULL else kind,) * facts.layers,
        Reason("uniform"),
        full=kind == FULL,
        modules=settings.modules(case),
        learning_rate=LearningRates(**{kind: rate}),
    )


def run_training(settings: Settings, case: Case, kind: str, rate: float) -> None:
    """Train one cell and keep its line; divergence is a result."""
    own = {"kind": str(kind), "rate": rate, "seed": settings.seed}
    columns = case.columns() | own
    if TRAINED.of(case, **own):
        return
    encoder, (task, evaluation) = encoder_of(settings.encoders[case.encoder]), task_of(case.task)
    start, head = time.process_time(), HeadOptions(case.head)
    plan = uniform(settings, case, kind, rate)
    try:
        model = fit(encoder, task, plan, settings.seed, training(settings, case), head)
    except TrainingError:
        TRAINED.add(columns | {"diverged": True})
        return
    assert model.training is not None
    found = outcome(encoder, task, evaluation, model.module, model.training)
    TRAINED.add(columns | found | {"seconds": round(time.process_time() - start, 1)})


def outcome(
    encoder: TextEncoder, task: Task, evaluation: Task, module: Classifier, training: Training
) -> Line:
    """What a training came to, on the selection and the evaluation rows.

    `right` has a bit an evaluation row, as hexadecimal digits; null of a regression.
    """
    facts = task.tokenised(encoder).facts
    examples = evaluation.examples(encoder, standardise=None if facts.labels else facts.standardise)
    logits = predict(module, examples, facts)
    labels = [example.label for example in examples]
    main = metric(evaluation.spec.metrics[0])  # accuracy, or Pearson's r
    truth = np.array(labels) if facts.scale is None else facts.scale.restore(np.array(labels))
    found = decide(logits, facts)
    return {
        "diverged": False,
        "curve": [[p.update, round(p.pick_loss, 6)] for p in training.curve],
        "selection_loss": round(training.best_loss, 6),
        "loss": round(mean_loss(logits, labels), 6),
        "score": round(main(truth, found, facts.outputs), 6),
        "right": np.packbits(found == truth).tobytes().hex() if facts.labels else None,
    }


def swept(settings: Settings, case: Case, kind: str) -> Iterator[float]:
    """The rates of a case's sweep: all where every rival runs, else `outwards`."""
    rates = [float(f"{fixed_rate(kind) * factor:.3g}") for factor in settings.factors]
    if case in settings.cases:
        return iter(rates)
    return outwards(rates, lambda tried: best_of(case, kind, tried))


def outwards(
    rates: Sequence[float], best_of_them: Callable[[Sequence[float]], float]
) -> Iterator[float]:
    """From the middle three on, while an edge is the best.

    Each comes once the ones before it are trained.
    """
    low, high = len(rates) // 2 - 1, len(rates) // 2 + 1
    yield from rates[low : high + 1]
    while (best := best_of_them(rates[low : high + 1])) in (rates[low], rates[high]):
        low, high = (low - 1, high) if best == rates[low] else (low, high + 1)
        if not 0 <= low <= high < len(rates):
            return
        yield rates[low] if best == rates[low + 1] else rates[high]


def best_of(case: Case, kind: str, rates: Sequence[float]) -> float:
    """The rate of the lowest selection loss, the first of equals; diverged ones lose."""
    lines = TRAINED.of(case, kind=str(kind))
    loss = {line["rate"]: line.get("selection_loss", np.inf) for line in lines}
    return min(rates, key=lambda rate: loss[rate])


def rates_to_try(settings: Settings, case: Case, found: Line, kind: str) -> Iterator[float]:
    """The sweep's, the thesis's where every rival runs, and auto's.

    Each once: a rate within 5 % of one before is it.
    """
    tried: list[float] = []
    for rate in swept(settings, case, kind):
        tried.append(rate)
        yield rate
    thesis = [settings.thesis[kind]] if case in settings.cases else []
    for rate in [*thesis, auto_rate(found, case, kind)]:
        if all(abs(np.log(rate / other)) > np.log(1.05) for other in tried):
            tried.append(float(f"{rate:.3g}"))
            yield tried[-1]
