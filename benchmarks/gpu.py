"""What a GPU changes: the same results, how fast, in how much memory. Needs no network.

    python -m benchmarks.gpu [--device cuda] [--examples 256]

Checks against oracles and for determinism, the Fisher engine against its rivals and against
transformers' Trainer, training against Trainer with peft, in every precision. A random encoder of
all-MiniLM-L6-v2's shape and made-up rows. Writes `reports/gpu.md`; ends with 1 where a check fails.
"""

from __future__ import annotations

import argparse
import math
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.fisher import Setting, run_floor, run_loop
from benchmarks.fisher_ratios import RIVALS
from benchmarks.gpu_setting import Bench, Precision, precisions, timed
from benchmarks.seeds import Trial, train_apart, train_together
from fishpal.common.files import write_text
from fishpal.params.options import FisherOptions
from fishpal.records.fisher_table import FisherTable
from fishpal.reporting.markdown import table as markdown_table

CLOSE = 1e-3  # relative, float32 on two devices: sums in another order
LOW = 0.1  # bfloat16 keeps 8 bits: a few per cent a gradient, less in the mean over examples
WAYS = RIVALS | {"trainer": "Trainer, one epoch of LoRA by peft on the same examples"}
SEEDS = (1, 2, 4, 8)
SEEDS_HEADER = [
    "way",
    "seeds",
    "precision",
    "examples/s",
    "time ÷ one by one",
    "peak MiB of the device",
]


class _OnDevice(Setting):
    """The setting of `benchmarks.fisher` without its artifacts."""

    def __init__(self, bench: Bench) -> None:
        self.encoder, self.head = bench.start()
        self.encoder.to(torch.device(bench.device))
        self.head.to(bench.device)
        self.options = FisherOptions(gram=False)
        self.examples, self.facts = bench.task.fit, bench.task.facts

    def models(self) -> Any:
        for model, modules in super().models():
            model.to(self.head.weight.device)
            yield model, modules


def worst(one: FisherTable, other: dict[str, float]) -> float:
    """Largest relative difference of a candidate's trace."""
    return max(abs(row.trace / other[f"{row.kind}.{row.layer}"] - 1) for row in one.rows)


def traces(table: FisherTable) -> dict[str, float]:
    return {f"{row.kind}.{row.layer}": row.trace for row in table.rows}


def looped(bench: Bench, width: int = 0) -> dict[str, float]:
    with torch.device(bench.device):  # where the rivals' batches are made
        return run_loop(_OnDevice(bench), width)


def checks(bench: Bench) -> list[list[str]]:
    """What must hold on the device: what, how far off, what is allowed, whether it holds."""
    own = bench.table(bench.device)
    weights = [torch.cat([p.flatten() for p in _trainable(bench)]) for _ in range(2)]
    found = [
        ("engine, one by one with plain autograd", worst(own, looped(bench)), CLOSE),
        ("table, CPU", worst(own, traces(bench.table("cpu"))), CLOSE),
        ("table, a second time", float(own != bench.table(bench.device)), 0.0),
        ("weights of a training, a second time", float(not torch.equal(*weights)), 0.0),
        ("weights of two seeds at once, one by one", farthest_weights(bench), CLOSE),
    ]
    for precision in precisions(bench):
        low = bench.table(bench.device, precision)
        found.append((f"table in {precision}, float32", worst(low, traces(own)), LOW))
    return [
        [what, f"{off:.1e}", f"{allowed:.0e}", "yes" if off <= allowed else "**no**"]
        for what, off, allowed in found
    ]


def _trainable(bench: Bench) -> list[Tensor]:
    model = bench.trained()
    return [p.detach() for p in model.parameters() if p.requires_grad]


def floor(bench: Bench) -> None:
    with torch.device(bench.device):
        run_floor(_OnDevice(bench))


def fisher_lines(bench: Bench) -> list[list[str]]:
    """The engine against its rivals: way, precision, seconds, ratio, MiB."""
    longest = bench.config["max_position_embeddings"]
    work: dict[str, Callable[[], object]] = {
        "engine": lambda: bench.table(bench.device),
        "engine_gram": lambda: bench.table(bench.device, gram=True),
        "floor": lambda: floor(bench),
        "loop": lambda: looped(bench),
        "thesis": lambda: looped(bench, min(128, longest)),
        "trainer": bench.rival,
    }
    found = {name: timed(bench, each) for name, each in work.items()}
    lines = [[WAYS[name], "float32", *_figures(*found[name], found["engine"][0])] for name in found]
    for precision in precisions(bench):
        again = timed(bench, partial(bench.table, bench.device, precision))
        lines.append([WAYS["engine"], precision, *_figures(*again, found["engine"][0])])
    return lines


def training_lines(bench: Bench) -> list[list[str]]:
    """The same of training."""
    lines = []
    every: list[Precision] = ["float32", *precisions(bench)]
    for precision in every:
        own = timed(bench, partial(bench.trained, precision))
        rival = timed(bench, partial(bench.rival, precision, bench.updates))
        lines.append(["fishpal", precision, *_figures(*own, own[0])])
        lines.append(["Trainer + peft", precision, *_figures(*rival, own[0])])
    return lines


def trial_of(bench: Bench, precision: Precision = "float32", dropout: bool = True) -> Trial:
    """LoRA at every layer, in an encoder that is there already."""
    encoder, head = bench.start()
    options = replace(bench.options(precision), encoder_dropout=dropout, pick="loss", recover=False)
    return Trial(encoder, head, bench.plan(encoder), bench.task, options)


def farthest_weights(bench: Bench) -> float:
    """Largest difference between two seeds' weights trained at once and apart, over the largest."""
    found = []
    for way in (train_together, train_apart):
        weights = way(trial_of(bench, dropout=False), range(2))
        found.append(torch.cat([t.flatten() for each in weights for t in each.values()]))
    return float((found[0] - found[1]).abs().max() / found[1].abs().max())


def seed_lines(bench: Bench, counts: Sequence[int]) -> list[list[str]]:
    """So many seeds apart and together: way, seeds, precision, examples/s, ratio, MiB."""
    lines = []
    every: list[Precision] = ["float32", *precisions(bench)[:1]]  # float16 scales all seeds alike
    for precision in every:
        trial = trial_of(bench, precision)
        size, examples = trial.options.batch_size, len(bench.task.fit)
        rows = bench.updates * examples / math.ceil(examples / size)  # of a seed
        for count in counts:
            apart = timed(bench, partial(train_apart, trial, range(count)))
            together = timed(bench, partial(train_together, trial, range(count)))
            for way, (seconds, peak) in (("one by one", apart), ("together", together)):
                figures = [f"{count * rows / seconds:.0f}", f"{seconds / apart[0]:.2f}", peak]
                lines.append([way, str(count), precision, *figures])
    return lines


def _figures(seconds: float, peak: str, own: float) -> list[str]:
    return [f"{seconds:.3f}", f"{seconds / own:.2f}", peak]


def text(bench: Bench, checked: Sequence[list[str]], counts: Sequence[int]) -> str:
    name = torch.cuda.get_device_name() if bench.device == "cuda" else platform.machine()
    examples, layers = len(bench.task.fit), bench.config["num_hidden_layers"]
    rest = ["precision", "seconds", "time ÷ the first", "peak MiB of the device"]
    parts = [
        "# A GPU",
        f"{name}, torch {torch.__version__}. {examples} made-up examples, a random BERT of"
        f" {layers} layers and width {bench.config['hidden_size']}; wall clock, median of"
        f" {bench.rounds} after one round to warm up.",
        "## What must hold",
        markdown_table(["what equals what", "relative difference", "allowed", "holds"], checked),
        "## Measuring three kinds at every layer",
        markdown_table(["way", *rest], fisher_lines(bench)),
        f"## Training LoRA at every layer, {bench.updates} updates of 32",
        "fishpal's time holds its looks at the selection part, of 32 examples.",
        markdown_table(["way", *rest], training_lines(bench)),
        "## Several seeds of that plan in one pass",
        "Each seed has its own modules, head and order of examples, in one encoder; a batch is as"
        " long as the longest text of all seeds'. Time with the looks at the selection part.",
        markdown_table(SEEDS_HEADER, seed_lines(bench, counts)),
    ]
    return "\n\n".join(parts) + "\n"


def main(argv: Sequence[str] | None = None, target: str = "reports/gpu.md") -> int:
    parser = argparse.ArgumentParser(description="What a GPU changes.")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--examples", type=int, default=256)
    parser.add_argument("--tiny", action="store_true", help="a toy encoder, one round")
    given = parser.parse_args(argv)
    bench = Bench.of(given.device, given.examples, given.tiny)
    checked = checks(bench)
    write_text(target, text(bench, checked, SEEDS[:2] if given.tiny else SEEDS))
    return int(any(line[-1] != "yes" for line in checked))


if __name__ == "__main__":
    sys.exit(main())
