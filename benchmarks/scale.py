"""How CPU time and memory grow with rows, layers, candidates, examples, cells and classes.

    python -m benchmarks.scale [--only tokenize shuffle] [--rows 100000] [--cells 150]

Tiny random encoders and made-up rows: the exponents count, not the seconds. Every figure is of a
process of its own, forked where all packages are loaded, with one thread. Writes
`reports/scale.md`.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import platform
import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tqdm import tqdm
from transformers import AutoConfig, AutoModel

from benchmarks.toy.encoder import COMMON, VOCAB, WORDS, save_tokenizer, tiny_folder
from benchmarks.toy.grid import METHODS, SEEDS, computed_grid, names_of
from fishpal.common.files import write_json, write_text
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
from fishpal.records.arrow import write_split
from fishpal.records.card import Card, SplitCard
from fishpal.records.examples import Example, lengths
from fishpal.records.facts import Limits, TaskFacts
from fishpal.records.pilot import Pilot
from fishpal.records.task import FIT, SELECTION, TASK, TokenisedTask
from fishpal.reporting.comparison import TaskReport
from fishpal.reporting.figures import draw_curves, draw_parameters, draw_scores
from fishpal.reporting.grid import read_results
from fishpal.reporting.markdown import table as markdown_table
from fishpal.reporting.page import page_html
from fishpal.reporting.write import report_text
from fishpal.selection.methods import select_plan
from fishpal.tokens.tokenization import tokenize_task

Work = Callable[[], object]
ANY = Limits(2**31, 2**31, None)
SMALL = ModuleOptions(adapter=AdapterOptions(bottleneck=8))
CELLS = len(METHODS) * len(SEEDS)  # of a task
LAST = Path("artifacts/benchmark/scale.json")
SEEN = 8.0  # MiB: below, the memory of a few objects and the allocator's rounding


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


@dataclass(frozen=True)
class Figure:
    """CPU seconds, and peak memory above what the process began with, in MiB."""

    size: int
    seconds: float
    memory: float


def raw_rows(folder: Path, rows: int) -> Path:
    """A clean task as `download` leaves it: so many rows of 4 to 12 words, 100 in test."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split, count in (("train", rows), ("test", 100)):
        words = np.array(WORDS)[rng.integers(len(WORDS), size=12 * count)].tolist()
        sizes = rng.integers(4, 13, size=count).tolist()
        text = [" ".join(words[12 * n : 12 * n + size]) for n, size in enumerate(sizes)]
        columns = {"text": text, "label": rng.integers(2, size=count)}
        pq.write_table(pa.table(columns), folder / f"{split}.parquet")
    splits = {"train": SplitCard(rows), "test": SplitCard(100)}
    Card("toy", {}, {}, ("a", "b"), splits, {}, {}, 0).save(folder / "card.json")
    return folder


def tokenize(rows: int, root: Path) -> Work:
    raw, encoder = raw_rows(root / "raw", rows), tiny_folder("bert", root / "encoder")
    save_tokenizer(encoder)
    sizes = Sizes(selection=10)
    return lambda: tokenize_task(raw, encoder, root / "tokens", Tokenize(), sizes, "toy")


def tokens(rows: int, root: Path) -> TokenisedTask:
    """So many rows of fit, in thousands of the same ones, and one of selection."""
    (root / "tokens/train").mkdir(parents=True)
    TaskFacts("toy", ("a", "b"), 0).save(root / "tokens" / TASK)
    words: dict[str, list[Any]] = {
        "input_ids": [[7] * (3 + n % 12) for n in range(1000)],
        "label": [0, 1] * 500,
    }
    write_split(root / "tokens" / FIT, itertools.repeat(words, rows // 1000), floats=False)
    write_split(root / "tokens" / SELECTION, iter([words]), floats=False)
    return TokenisedTask.load(root / "tokens", ANY)


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
    "empirical": Series(
        "measuring, `empirical`",
        "classes",
        CLASSES,
        partial(of_classes, estimator=Estimator.EMPIRICAL),
    ),
    "sampled": Series(
        "measuring, `sampled`", "classes", CLASSES, partial(of_classes, estimator=Estimator.SAMPLED)
    ),
    "exact": Series(
        "measuring, `exact`", "classes", CLASSES, partial(of_classes, estimator=Estimator.EXACT)
    ),
    "report": Series("report: text and page", "cells", GRID, partial(report, figures=False)),
    "figures": Series("report: figures", "cells", GRID, partial(report, figures=True)),
    "status": Series(
        "`dvc status`, nothing to do", "cells", GRID, partial(dvc, verb="status"), PARAMS
    ),
    "repro": Series(
        "`dvc repro`, nothing to do", "cells", GRID, partial(dvc, verb="reproduce"), PARAMS
    ),
}


def measure(series: Series, size: int) -> Figure:
    """Run one size in a fork; `RuntimeError` where it fails."""
    with tempfile.TemporaryDirectory(prefix="fishpal-scale-") as name:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            with contextlib.suppress(BaseException):
                os.environ["DVC_SITE_CACHE_DIR"] = f"{name}/site"
                os.write(write, json.dumps(_measured(series, size, Path(name) / "work")).encode())
                code = 0
            os._exit(code)
        os.close(write)
        with os.fdopen(read) as file:
            said = file.read()
        os.waitpid(child, 0)
    if not said:
        raise RuntimeError(f"{series.what} at {size} {series.axis} failed")
    return Figure(size, *json.loads(said))


def _measured(series: Series, size: int, root: Path) -> tuple[float, float]:
    """In the fork: CPU seconds and MiB of the work."""
    warnings.simplefilter("ignore")
    root.mkdir()
    try:
        work = series.prepare(size, root)
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before, begin = _peak(), time.process_time()
        work()
        return time.process_time() - begin, _peak() - before
    except BaseException as error:
        sys.stderr.write(f"{series.what}, {size}: {error!r}\n")
        raise
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _peak() -> float:
    """MiB of this process at most since the peak was cleared."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def exponent(found: Sequence[Figure], value: Callable[[Figure], float]) -> str:
    """Slope of log value over log size, by least squares over the last decade of sizes."""
    last = [each for each in found if each.size * 10 >= found[-1].size]
    if len(last) < 2 or min(map(value, last)) <= 0:
        return "–"
    size = np.log([each.size for each in last])
    grown = np.log([value(each) for each in last])
    slope = np.polyfit(size, grown, 1)[0]
    return f"{slope:.2f} ({last[0].size:,} to {last[-1].size:,})"


def line(series: Series, found: Sequence[Figure]) -> list[str]:
    spent = [each.seconds for each in found]
    seconds = ", ".join(f"{each:.0f}" if each >= 10 else f"{each:.2g}" for each in spent)
    peak = found[-1].memory
    memory = exponent(found, lambda f: f.memory) if peak > SEEN else "–"
    sizes = ", ".join(f"{each.size:,}" for each in found)
    own = exponent(found, lambda f: f.seconds)
    return [
        series.what,
        f"{series.axis} {sizes}",
        seconds,
        own,
        series.least,
        f"{peak:.0f}",
        memory,
    ]


def crossing(plain: Sequence[Figure], kernels: Sequence[Figure]) -> str:
    """From how many examples on the kernels cost as much as all else."""
    n = np.array([each.size for each in kernels], float)
    more = np.array([k.seconds - p.seconds / 2 for k, p in zip(kernels, plain, strict=True)])
    linear, square = np.linalg.lstsq(np.stack([n, n**2], 1) / n[:, None], more / n, rcond=None)[0]
    if min(linear, square) <= 0:
        return "The kernels' n² does not show at these sizes."
    here = f"In this tiny encoder it costs as much as the passes from n ≈ {linear / square:,.0f} on"
    return f"Kernels are n² inner products of gradients, {square:.1e} n² seconds. {here}."


def text(found: dict[str, list[Figure]]) -> str:
    header = ["what", "grows with", "CPU seconds", "exponent (fit over)", "must be"]
    header += ["MiB at most", "exponent of MiB"]
    parts = [
        "# Growth",
        "CPU time (user and system) of one thread and peak resident memory above the start's, each"
        " of a process of its own, without loading packages; tiny random encoders, 8 tokens an"
        " example. The exponent is the slope of log seconds over log size, fitted over the last"
        " factor of ten of the sizes; small sizes show constant parts instead. Other work shared"
        " the caches meanwhile, so that a few per cent are noise. Shuffling a million rows leaves"
        " the caches: NumPy's own permutation takes 20 times as long as that of a tenth of them.",
        markdown_table(header, [line(SERIES[name], figures) for name, figures in found.items()]),
    ]
    if {"examples", "kernels"} <= set(found):
        parts.append(crossing(found["examples"], found["kernels"]))
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    return "\n\n".join([*parts, f"{machine}, torch {torch.__version__}."]) + "\n"


def main(argv: Sequence[str] | None = None, target: str = "reports/scale.md") -> None:
    parser = argparse.ArgumentParser(description="How CPU time and memory grow.")
    parser.add_argument("--only", nargs="+", choices=list(SERIES), default=list(SERIES))
    parser.add_argument("--rows", type=int, default=max(ROWS), help="at most")
    parser.add_argument("--cells", type=int, default=max(GRID), help="at most")
    parser.add_argument("--add", action="store_true", help="keep the other lines of the last run")
    parser.add_argument("--tiny", action="store_true", help="the two smallest sizes of each")
    given = parser.parse_args(argv)
    torch.set_num_threads(1)  # before any work: forks cannot use the threads of their parent
    limits = {"rows": given.rows, "cells": given.cells}
    wanted = {
        name: [n for n in series.sizes if n <= limits.get(series.axis, n)]
        for name, series in SERIES.items()
        if name in given.only
    }
    found: dict[str, list[Figure]] = {}
    if given.add and LAST.is_file():
        kept = json.loads(LAST.read_text(encoding="utf-8"))
        found = {name: [Figure(*each) for each in figures] for name, figures in kept.items()}
    with tqdm(total=sum(map(len, wanted.values())), desc="scale", disable=None) as bar:
        for name, sizes in wanted.items():
            found[name] = []
            for size in sizes[:2] if given.tiny else sizes:
                found[name].append(measure(SERIES[name], size))
                bar.update()
            found = {each: found[each] for each in SERIES if each in found}
            write_text(target, text(found))
    if not given.tiny:
        write_json(
            LAST, {name: [astuple(each) for each in figures] for name, figures in found.items()}
        )


if __name__ == "__main__":
    main()
