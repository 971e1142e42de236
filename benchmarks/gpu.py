"""What a GPU changes: the same results, how fast, in how much memory. Needs no network.

    python -m benchmarks.gpu [--device cuda] [--examples 256]

Checks against oracles and for determinism, the Fisher engine against its rivals and against
transformers' Trainer, training against Trainer with peft, in every precision. A random encoder of
all-MiniLM-L6-v2's shape and made-up rows. Writes `reports/gpu.md`; ends with 1 where a check fails.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, Trainer, TrainingArguments

from benchmarks.fisher import RIVALS, Setting, run_floor, run_loop
from benchmarks.rivals import Model, add_modules
from benchmarks.toy.encoder import COMMON
from fishpal.common.files import write_text
from fishpal.common.kinds import ModuleKind
from fishpal.encoders.encoder import Encoder
from fishpal.fisher.engine import measure_fisher
from fishpal.models.batching import collate
from fishpal.models.classifier import Classifier
from fishpal.models.head import Head, start_head
from fishpal.models.planned import plan_model
from fishpal.params.module_options import ModuleOptions
from fishpal.params.options import FisherOptions, HeadOptions, TrainOptions
from fishpal.records.examples import Example
from fishpal.records.facts import TaskFacts
from fishpal.records.fisher_table import FisherTable
from fishpal.records.plan import Plan, Reason
from fishpal.records.task import TokenisedTask
from fishpal.reporting.markdown import table as markdown_table
from fishpal.training.train import train

Device = Literal["cpu", "cuda"]
Precision = Literal["float32", "bfloat16", "float16"]
MINILM = {
    "vocab_size": 30522, "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12,
    "intermediate_size": 1536, "max_position_embeddings": 512, "pad_token_id": 0,
}  # fmt: skip
CLOSE = 1e-3  # relative, float32 on two devices: sums in another order
LOW = 0.1  # bfloat16 keeps 8 bits: a few per cent a gradient, less in the mean over examples
WAYS = RIVALS | {"trainer": "Trainer, one epoch of LoRA by peft on the same examples"}


@dataclass(frozen=True)
class Bench:
    """What everything runs on: a random encoder's config, rows, a device."""

    device: Device
    config: dict[str, Any]
    task: TokenisedTask
    updates: int
    rounds: int

    @classmethod
    def of(cls, device: Device, examples: int, tiny: bool) -> Bench:
        config, longest = (COMMON, 12) if tiny else (MINILM, 64)
        rng = np.random.default_rng(0)

        def rows(count: int) -> list[Example]:
            sizes, labels = rng.integers(6, longest, size=count), rng.integers(2, size=count)
            return [
                Example(rng.integers(4, config["vocab_size"], size=size).tolist(), label)
                for size, label in zip(sizes, labels.tolist(), strict=True)
            ]

        task = TokenisedTask(TaskFacts("made_up", ("a", "b"), 0), rows(examples), rows(32))
        return cls(device, config, task, 2 if tiny else 40, 1 if tiny else 3)

    def encoder(self) -> Encoder:
        """The same random encoder every time."""
        torch.manual_seed(0)
        config = AutoConfig.for_model("bert", **self.config)
        return Encoder.of(AutoModel.from_config(config, add_pooling_layer=False), None)

    def start(self) -> tuple[Encoder, Head]:
        encoder = self.encoder()
        return encoder, start_head(encoder, self.task, HeadOptions())

    def table(
        self, device: Device, precision: Precision = "float32", gram: bool = False
    ) -> FisherTable:
        encoder, head = self.start()
        count = len(self.task.fit)
        options = FisherOptions(examples=count, gram=gram, device=device, precision=precision)
        return measure_fisher(encoder, head, self.task, ModuleOptions(), options, progress=False)[0]

    def trained(self, precision: Precision = "float32") -> Classifier:
        """LoRA at every layer, trained."""
        encoder, head = self.start()
        layers = (ModuleKind.LORA,) * encoder.facts.layers
        plan = Plan("made_up", "lora", encoder.facts, layers, Reason("uniform"))
        model = plan_model(encoder, head, plan, seed=0)
        options = TrainOptions(updates=self.updates, device=self.device, precision=precision)
        train(model, plan, self.task, options, 0, progress=False)
        return model

    def rival(self, precision: Precision = "float32", updates: int | None = None) -> Any:
        """transformers' Trainer with peft's LoRA; `updates` None: one epoch."""
        encoder = add_modules("peft", "lora", self.encoder().model)
        model = Model(encoder, self.config["hidden_size"], self.task.facts.outputs)
        with tempfile.TemporaryDirectory() as folder:
            options = TrainingArguments(
                folder, num_train_epochs=1, max_steps=updates or -1, learning_rate=1e-3,
                per_device_train_batch_size=32, bf16=precision == "bfloat16",
                fp16=precision == "float16", use_cpu=self.device == "cpu", report_to=[],
                logging_strategy="no", save_strategy="no", disable_tqdm=True,
                remove_unused_columns=False,
            )  # fmt: skip
            rows: Any = self.task.fit
            Trainer(model, options, lambda rows: collate(rows, 0), train_dataset=rows).train()
        return model


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


def precisions(bench: Bench) -> list[Precision]:
    """Beside float32; float16 gradients are for GPUs alone."""
    return ["bfloat16", "float16"] if bench.device == "cuda" else ["bfloat16"]


def timed(bench: Bench, work: Callable[[], object]) -> tuple[float, str]:
    """Median seconds of the rounds after one to warm up, and the device's peak MiB."""
    on_gpu, seconds = bench.device == "cuda", []
    for _ in range(bench.rounds + 1):
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if on_gpu:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    peak = f"{torch.cuda.max_memory_allocated() / 2**20:.0f}" if on_gpu else "–"
    return statistics.median(seconds[1:]), peak


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


def _figures(seconds: float, peak: str, own: float) -> list[str]:
    return [f"{seconds:.3f}", f"{seconds / own:.2f}", peak]


def text(bench: Bench, checked: Sequence[list[str]]) -> str:
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
    write_text(target, text(bench, checked))
    return int(any(line[-1] != "yes" for line in checked))


if __name__ == "__main__":
    sys.exit(main())
