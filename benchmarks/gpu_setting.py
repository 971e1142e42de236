"""What `benchmarks.gpu` runs on: a random encoder, made-up rows, a device, and how it is timed."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from transformers import AutoConfig, AutoModel, Trainer, TrainingArguments

from benchmarks.rivals import Model, add_modules
from benchmarks.toy.encoder import COMMON
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
from fishpal.training.train import train

Device = Literal["cpu", "cuda"]
Precision = Literal["float32", "bfloat16", "float16"]
MINILM = {
    "vocab_size": 30522, "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12,
    "intermediate_size": 1536, "max_position_embeddings": 512, "pad_token_id": 0,
}  # fmt: skip


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

    def plan(self, encoder: Encoder) -> Plan:
        """LoRA at every layer."""
        layers = (ModuleKind.LORA,) * encoder.facts.layers
        return Plan("made_up", "lora", encoder.facts, layers, Reason("uniform"))

    def options(self, precision: Precision) -> TrainOptions:
        return TrainOptions(updates=self.updates, device=self.device, precision=precision)

    def trained(self, precision: Precision = "float32") -> Classifier:
        """LoRA at every layer, trained."""
        encoder, head = self.start()
        plan = self.plan(encoder)
        model = plan_model(encoder, head, plan, seed=0)
        train(model, plan, self.task, self.options(precision), 0, progress=False)
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
