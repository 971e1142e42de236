"""Speed and memory of the Fisher engine against the ways that it replaces, in one run.

    python -m benchmarks.fisher

Needs the default pipeline's artifacts (`make report`). Every rival measures the same kinds on the
same examples, in a process of its own with one thread, in rounds; what counts is CPU time, which a
busy machine disturbs least. `reports/benchmarks.md` gets the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.fisher_ratios import EVERY, KINDS, LOW, RIVALS, Found, every_kind, table
from benchmarks.report import write_part
from fishpal.common.kinds import ModuleKind
from fishpal.encoders.encoder import load_encoder
from fishpal.fisher.engine import measure_fisher
from fishpal.fisher.sample import draw_sample
from fishpal.models.batching import by_length, collate
from fishpal.models.classifier import Classifier, task_loss
from fishpal.models.head import start_head
from fishpal.models.precision import pick_precision
from fishpal.modules import CandidateModule
from fishpal.modules.attach import build_module
from fishpal.params.module_options import ModuleOptions
from fishpal.params.options import FisherOptions, HeadOptions
from fishpal.records.paths import Artifacts
from fishpal.records.task import TokenisedTask

ARTIFACTS = Artifacts()
THESIS_LENGTH = 128  # the thesis pads every example to this many tokens
Traces = dict[str, float]


class Setting:
    """The embedded encoder, its head and the first examples of a task."""

    def __init__(self, name: str, examples: int, kinds: tuple[ModuleKind, ...] = KINDS) -> None:
        self.encoder = load_encoder(ARTIFACTS.encoder)
        task = TokenisedTask.load(ARTIFACTS.tokens(name), self.encoder.limits, selection=False)
        self.options = FisherOptions(kinds=kinds, examples=examples, gram=False, device="cpu")
        self.examples = draw_sample(task, self.options).examples
        self.facts, self.head = task.facts, start_head(self.encoder, task, HeadOptions())

    def models(self) -> Iterator[tuple[Classifier, list[CandidateModule]]]:
        """The model with each kind attached, its parameters alone requiring gradients."""
        shapes = self.encoder.shapes
        for kind in self.options.kinds:
            model = Classifier(self.encoder, self.head).requires_grad_(False).eval()
            modules = [
                build_module(kind, layer, shape, ModuleOptions(), seed=0)
                for layer, shape in enumerate(shapes)
            ]
            model.attach(modules)
            yield model, modules
            model.detach()


def run_engine(setting: Setting, **changed: Any) -> Traces:
    options = replace(setting.options, examples=len(setting.examples), **changed)
    task = TokenisedTask(setting.facts, setting.examples)
    found = measure_fisher(
        setting.encoder, setting.head, task, ModuleOptions(), options, progress=False
    )
    return {f"{row.kind}.{row.layer}": row.trace for row in found[0].rows}


def run_floor(setting: Setting) -> Traces:
    """Forward and backward of each batch's summed loss: what any gradient costs."""
    for model, modules in setting.models():
        parameters = [p for module in modules for p in module.parameters()]
        for index in by_length(setting.examples, setting.options.batch_size):
            batch = collate([setting.examples[i] for i in index], setting.facts.pad_id)
            labels = batch.pop("labels")
            loss = task_loss(model(**batch), labels) * len(index)
            torch.autograd.grad(loss, parameters)
    return {}


def run_loop(setting: Setting, width: int = 0) -> Traces:
    """One forward and backward an example; padded to `width` tokens where that is more."""
    traces: Traces = {}
    for model, modules in setting.models():
        for module in modules:
            traces[f"{module.kind}.{module.layer}"] = 0.0
        for example in setting.examples:
            batch = collate([example], setting.facts.pad_id)
            labels = batch.pop("labels")
            missing = width - batch["input_ids"].shape[1]
            if missing > 0:
                batch = {n: torch.nn.functional.pad(t, (0, missing)) for n, t in batch.items()}
            loss = task_loss(model(**batch), labels)
            kept = [list(module.kept().values()) for module in modules]
            found = iter(torch.autograd.grad(loss, [t for tensors in kept for t in tensors]))
            for module, tensors in zip(modules, kept, strict=True):
                square = sum(next(found).double().square().sum().item() for _ in tensors)
                traces[f"{module.kind}.{module.layer}"] += square / len(setting.examples)
    return traces


RUN: dict[str, Callable[[Setting], Traces]] = {
    "engine": run_engine,
    "engine_gram": lambda setting: run_engine(setting, gram=True),
    "engine_bfloat16": lambda setting: run_engine(setting, precision="bfloat16"),
    "floor": run_floor,
    "loop": run_loop,
    "thesis": lambda setting: run_loop(setting, THESIS_LENGTH),
}


def child(rival: str, task: str, examples: int, kinds: tuple[ModuleKind, ...]) -> None:
    """Measure one rival and print its figures as JSON."""
    setting = Setting(task, examples, kinds)
    warm = Setting(task, 8, kinds)
    RUN[rival](warm)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    traces = RUN[rival](setting)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures = {"seconds": seconds, "mib": peak / 1024, "more": (peak - before) / 1024}
    json.dump(figures | {"traces": traces}, sys.stdout)


def measure(
    rivals: list[str], task: str, examples: int, rounds: int, kinds: tuple[ModuleKind, ...]
) -> Found:
    """Every rival in every round, in turn, so that a busy moment hits all alike."""
    found: Found = {rival: [] for rival in rivals}
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    with tqdm(total=rounds * len(rivals), desc="benchmark", disable=None) as bar:
        for _ in range(rounds):
            for rival in rivals:
                command = [sys.executable, "-m", "benchmarks.fisher", "--rival", rival]
                command += ["--task", task, "--examples", str(examples), "--kinds", *kinds]
                done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
                found[rival].append(json.loads(done.stdout))
                bar.update()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="movies")
    parser.add_argument("--examples", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rival", choices=list(RUN), help=argparse.SUPPRESS)
    parser.add_argument("--kinds", nargs="+", default=KINDS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.rival:
        child(given.rival, given.task, given.examples, tuple(map(ModuleKind, given.kinds)))
        return
    asked = (given.task, given.examples, given.rounds)
    native = pick_precision("auto", torch.device("cpu"), "precision") == "bfloat16"
    rivals = [*RIVALS, *(LOW if native else ())]
    found = measure(rivals, *asked, KINDS)
    every = measure(["engine", "floor"], *asked, EVERY)
    text = f"{table(found, given.task, given.examples)}\n{every_kind(every)}"
    write_part("Benchmarks of the Fisher engine", text)


if __name__ == "__main__":
    main()
