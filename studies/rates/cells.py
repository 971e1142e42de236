"""Trainings and measurements of the study, kept line by line: a run goes on where it was."""

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from safetensors.torch import load_file, save_file

from fishpal.api.encoder import TextEncoder, load_encoder
from fishpal.api.steps import Measurement, measure
from fishpal.api.task import Task
from fishpal.common.errors import EncoderError
from fishpal.common.files import read_json, write_json
from fishpal.common.kinds import ModuleKind
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
from studies.cells.sources import task_options
from studies.cells.store import Line, Store
from studies.cells.trainings import fixed_length, outwards, train_cell
from studies.rates.critical import critical_rate
from studies.rates.settings import KINDS, ROOM, Case, Layers, Settings, load_settings

RESULTS = ROOM / "results"
FULL_RATE = 5e-5  # `TrainingArguments.learning_rate` of transformers 5


@dataclass(frozen=True)
class CaseStore(Store):
    """Lines that are each of a case."""

    def of(self, case: Case, **columns: Any) -> list[Line]:
        """The lines of a case that have these columns."""
        return [line for line in self.find(**columns) if case.owns(line)]


MEASURED = CaseStore(RESULTS / "measured.jsonl")
TRAINED = CaseStore(RESULTS / "trained.jsonl")
RECOVERED = CaseStore(RESULTS / "recovered.jsonl")


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


@cache
def task_of(name: str) -> tuple[Task, Task]:
    """Train and evaluation rows, the first of each file."""
    settings = load_settings()
    source, rows = settings.tasks[name], settings.rows
    columns = [*source.text, source.label]
    frames = [read_frame(ROOM / path, columns) for path in (source.train, source.test)]
    named = task_options(name, source, frames[0])
    make = lambda frame, **sizes: Task.from_frame(  # noqa: E731
        frame, list(source.text), source.label, **named, **sizes
    )
    evaluation = make(frames[1].head(rows.evaluation))
    return make(frames[0], fit=rows.fit, selection=rows.selection), evaluation


def training(settings: Settings, case: Case) -> TrainOptions:
    """The project's, of a case's length; η* of the encoder counts where it was measured."""
    options = fixed_length(case.updates, settings.batch_size, settings.looks, settings.rows.fit)
    return replace(options, learning_rate=RateOptions(full="auto"))


def measured(settings: Settings, case: Case) -> Line:
    """What `auto` rests on, and the critical rates that the line search needs of some cases.

    Measured now or before.
    """
    if not MEASURED.of(case):
        kinds = tuple(kind for kind in ModuleKind if kind in case.kinds) or KINDS[:1]
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


def auto_rate(settings: Settings, found: Line, case: Case, kind: str) -> float:
    """By today's formula, of a measured case."""
    seen, encoder = found["reasons"][kind], settings.encoders[case.encoder]
    units = encoder.layers * encoder.hidden
    return rate_of(kind, seen["step"], seen["signal"], case.updates, units).rate


def fixed_rate(kind: str) -> float:
    """The middle of its sweeps: the usual one, or, of full fine-tuning, transformers' default.

    The law of the latter was set on such sweeps.
    """
    return FULL_RATE if kind == FULL else LAWS[kind].usual


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


def run_training(
    settings: Settings, case: Case, kind: str, rate: float, *, recover: bool = False
) -> None:
    """Train one cell, unless it is there, and keep its line; one with `train.recover` apart."""
    own = {"kind": str(kind), "rate": rate, "seed": settings.seed}
    columns, store = case.columns() | own, RECOVERED if recover else TRAINED
    if store.of(case, **own):
        return
    encoder, plan = encoder_of(settings.encoders[case.encoder]), uniform(settings, case, kind, rate)
    options, head = replace(training(settings, case), recover=recover), HeadOptions(case.head)
    found = train_cell(encoder, task_of(case.task), plan, settings.seed, options, head)
    store.add(columns | found)


def swept(settings: Settings, case: Case, kind: str) -> Iterator[float]:
    """The rates of a case's sweep: all where every rival runs, else `outwards`."""
    rates = [float(f"{fixed_rate(kind) * factor:.3g}") for factor in settings.factors]
    if case in settings.cases:
        return iter(rates)
    return outwards(rates, lambda tried: best_of(case, kind, tried))


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
    for rate in [*thesis, auto_rate(settings, found, case, kind)]:
        if all(abs(np.log(rate / other)) > np.log(1.05) for other in tried):
            tried.append(float(f"{rate:.3g}"))
            yield tried[-1]
