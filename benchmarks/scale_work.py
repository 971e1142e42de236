"""The work of growing size that `benchmarks.scale` measures."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModel

from benchmarks.toy.encoder import COMMON, VOCAB, save_tokenizer, tiny_folder
from benchmarks.toy.grid import METHODS, SEEDS, computed_grid, names_of
from benchmarks.toy.rows import raw_rows, tokens
from benchmarks.work import ANY
from fishpal.common.kinds import Estimator, ModuleKind
from fishpal.encoders.encoder import Encoder
from fishpal.fisher.engine import measure_fisher
from fishpal.fisher.sample import draw_sample
from fishpal.models.batching import collate, endless_batches
from fishpal.models.head import start_head
from fishpal.params.catalog import Sizes
from fishpal.params.methods import ByCriterion
from fishpal.params.module_options import AdapterOptions, ModuleOptions
from fishpal.params.options import (
    FisherOptions,
    HeadOptions,
    LearningRates,
    RateOptions,
    SelectOptions,
)
from fishpal.params.sections import Tokenize
from fishpal.records.examples import Example, lengths
from fishpal.records.facts import TaskFacts
from fishpal.records.pilot import Pilot
from fishpal.records.task import TokenisedTask
from fishpal.reporting.comparison import TaskReport
from fishpal.reporting.figures import draw_curves, draw_parameters, draw_scores
from fishpal.reporting.grid import read_results
from fishpal.reporting.page import page_html
from fishpal.reporting.write import report_text
from fishpal.selection.methods import select_plan
from fishpal.tokens.tokenization import tokenize_task

Work = Callable[[], object]
SMALL = ModuleOptions(adapter=AdapterOptions(bottleneck=8))
CELLS = len(METHODS) * len(SEEDS)  # of a task


@dataclass(frozen=True)
class Series:
    """Work of growing size.

    Attributes:
        prepare: size and a folder → the work that is measured, all else made beforehand.
        least: the exponent that the work itself has, where that is not 1.
    """

    what: str
    axis: str
    sizes: tuple[int, ...]
    prepare: Callable[[int, Path], Work]
    least: str = "1"


def tokenize(rows: int, root: Path) -> Work:
    raw, encoder = raw_rows(root / "raw", rows), tiny_folder("bert", root / "encoder")
    save_tokenizer(encoder)
    sizes = Sizes(selection=10)
    return lambda: tokenize_task(raw, encoder, root / "tokens", Tokenize(), sizes, "toy")


def shuffle(rows: int, root: Path) -> Work:
    fit, rng = tokens(rows, root).fit, np.random.default_rng(0)

    def work() -> None:
        batches = endless_batches(lengths(fit), 32, rng)
        for _ in itertools.islice(batches, len(fit) // 32):
            pass

    return work


def pad(rows: int, root: Path) -> Work:
    fit = tokens(rows, root).fit
    starts = range(0, len(fit), 32)
    return lambda: [collate([fit[i] for i in range(s, min(s + 32, len(fit)))], 0) for s in starts]


def sample(rows: int, root: Path) -> Work:
    tokens(rows, root)
    options = FisherOptions()
    return lambda: draw_sample(TokenisedTask.load(root / "tokens", ANY, False), options)


def encoder_of(layers: int) -> Encoder:
    torch.manual_seed(0)
    config = AutoConfig.for_model("bert", **COMMON | {"num_hidden_layers": layers})
    return Encoder.of(AutoModel.from_config(config, add_pooling_layer=False), None)


def measuring(size: int, classes: int = 2, layers: int = 2, **options: Any) -> Work:
    """Measuring `size` examples of 8 tokens."""
    encoder, rng = encoder_of(layers), np.random.default_rng(0)
    ids, labels = rng.integers(4, VOCAB, size=(size, 8)), rng.integers(classes, size=size)
    rows = [Example(i, label) for i, label in zip(ids.tolist(), labels.tolist(), strict=True)]
    task = TokenisedTask(TaskFacts("toy", tuple(map(str, range(classes))), 0), rows)
    head = start_head(encoder, task, HeadOptions())
    wanted = FisherOptions(examples=size, device="cpu", **options)
    first = replace(wanted, examples=2)  # loads what is loaded late
    measure_fisher(encoder, head, task, SMALL, first, progress=False)
    return lambda: measure_fisher(encoder, head, task, SMALL, wanted, progress=False)


LORA = (ModuleKind.LORA,)
FIVE = tuple(ModuleKind)


def of_layers(layers: int, _: Path) -> Work:
    return measuring(32, layers=layers, kinds=LORA, gram=False)


def of_candidates(candidates: int, _: Path) -> Work:
    return measuring(32, layers=candidates // len(FIVE), kinds=FIVE, gram=False)


def choose(candidates: int, _: Path, budget: float | None) -> Work:
    layers = candidates // len(FIVE)
    measured: Any = measuring(2, layers=layers, kinds=FIVE, gram=False)()
    rates, pilot = RateOptions(**vars(LearningRates())), Pilot(8, "updates", 0.5)
    options = SelectOptions(budget=budget, fallback=None)
    table, grams = measured
    return lambda: select_plan(table, grams, "m", ByCriterion(), options, rates, pilot)


def of_examples(examples: int, _: Path, gram: bool) -> Work:
    return measuring(examples, kinds=LORA, gram=gram)


def of_classes(classes: int, _: Path, estimator: Estimator) -> Work:
    return measuring(32, classes, kinds=LORA, gram=False, estimator=estimator)


def dvc(cells: int, root: Path, verb: str) -> Work:
    from dvc.repo import Repo

    computed_grid(root, cells // CELLS)

    def work() -> None:
        with Repo(str(root)) as repo:
            found = getattr(repo, verb)()
            if found:
                raise RuntimeError(f"dvc {verb}: {len(found)} stages are not up to date")

    os.chdir(root)
    return work


def report(cells: int, root: Path, figures: bool) -> Work:
    tree: Any = import_module("tests.reporting.artifact_tree")  # what the report's own tests read
    params, folder = tree.make_run(
        root, tasks=names_of(cells // CELLS), methods=METHODS, seeds=SEEDS
    )

    def read() -> list[TaskReport]:
        return [TaskReport.of(each, params.report) for each in read_results(params, folder)]

    def write() -> None:
        found = read()
        report_text(params, found), page_html(params, found)

    def draw(reports: Sequence[TaskReport]) -> None:
        for each, one in itertools.product((draw_scores, draw_curves, draw_parameters), reports):
            each(root / "figures" / f"{one.results.name}_{each.__name__}.png", one)

    return partial(draw, read()) if figures else write


ROWS, UNITS, GRID = (1_000, 10_000, 100_000, 1_000_000), (2, 4, 8, 16, 32), (10, 50, 150, 500)
EXAMPLES, CLASSES = (32, 128, 512, 1024, 2048), (2, 10, 30, 75, 150)
CANDIDATES = (10, 20, 40, 80, 160)
SUMS = "more, by the number of sums that a plan's parameters can have"
PARAMS = "up to 2: DVC reads all of `params.yaml`, where each task has an entry, for every stage"
SERIES = {
    "shuffle": Series("an epoch's batches, shuffled by length", "rows", ROWS, shuffle),
    "sample": Series("loading the tokens, drawing 256 examples", "rows", ROWS, sample),
    "pad": Series("reading and padding an epoch's batches", "rows", ROWS[:3], pad),
    "tokenize": Series("`tokenize`", "rows", ROWS, tokenize),
    "layers": Series("measuring LoRA", "layers", UNITS, of_layers),
    "candidates": Series("measuring five kinds", "candidates", CANDIDATES, of_candidates),
    "select": Series("choosing", "candidates", CANDIDATES, partial(choose, budget=None)),
    "budget": Series(
        "choosing within a budget", "candidates", CANDIDATES[:3], partial(choose, budget=0.5), SUMS
    ),
    "examples": Series(
        "measuring, no kernels", "examples", EXAMPLES, partial(of_examples, gram=False)
    ),
    "kernels": Series(
        "measuring, kernels kept", "examples", EXAMPLES, partial(of_examples, gram=True), "2"
    ),
    **{
        each.value: Series(
            f"measuring, `{each}`", "classes", CLASSES, partial(of_classes, estimator=each)
        )
        for each in (Estimator.EMPIRICAL, Estimator.SAMPLED, Estimator.EXACT)
    },
    "report": Series("report: text and page", "cells", GRID, partial(report, figures=False)),
    "figures": Series("report: figures", "cells", GRID, partial(report, figures=True)),
    "status": Series(
        "`dvc status`, nothing to do", "cells", GRID, partial(dvc, verb="status"), PARAMS
    ),
    "repro": Series(
        "`dvc repro`, nothing to do", "cells", GRID, partial(dvc, verb="reproduce"), PARAMS
    ),
}
