"""One rival of `benchmarks.training`: transformers' Trainer with peft or adapters, in a process.

Imports nothing of fishpal that needs its version of transformers, since adapters needs another.
"""

from __future__ import annotations

import sys
import tempfile
import time
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import AutoModel, Trainer, TrainerCallback, TrainingArguments

from benchmarks.work import WARM, Work, answer
from fishpal.models.batching import collate

SITES = ["query", "value"]


class Model(nn.Module):
    """An encoder with mean pooling and a linear head, which alone trains beside the modules."""

    def __init__(self, encoder: Any, hidden: int, outputs: int) -> None:
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(hidden, outputs)

    def forward(self, labels: Any, attention_mask: Any, **inputs: Any) -> dict[str, Any]:
        inputs.pop("num_items_in_batch", None)  # newer Trainers', for losses that are sums
        hidden = self.encoder(attention_mask=attention_mask, **inputs).last_hidden_state
        weights = attention_mask.to(hidden.dtype).unsqueeze(-1)
        logits = self.head((hidden * weights).sum(dim=1) / weights.sum(dim=1))
        return {"loss": nn.functional.cross_entropy(logits.float(), labels), "logits": logits}


def add_modules(library: str, plan: str, encoder: Any) -> Any:
    """The plan's modules at every layer, all else frozen."""
    if library != "adapters":
        from peft import LoraConfig, get_peft_model

        return get_peft_model(encoder, LoraConfig(r=8, lora_alpha=16, target_modules=SITES))
    import adapters  # type: ignore[import-not-found]  # in an environment of its own

    adapters.init(encoder)
    lora = adapters.LoRAConfig(r=8, alpha=16, attn_matrices=["q", "v"])
    bottleneck = adapters.SeqBnConfig(reduction_factor=8, non_linearity="relu")
    encoder.add_adapter("own", config={"lora": lora, "adapter": bottleneck}[plan])
    encoder.train_adapter("own")
    return encoder


class Clock(TrainerCallback):  # type: ignore[misc]
    """CPU time between the end of the warm-up and of the last update."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.times.append(time.process_time())


class Batched(Trainer):  # type: ignore[misc]
    """A Trainer on given batches: the same as fishpal's, grouped by length."""

    def __init__(self, work: Work, **options: Any) -> None:
        super().__init__(**options)
        self.work = work

    def get_train_dataloader(self) -> Any:
        examples: Any = self.work.examples
        pad_id = self.work.task.facts.pad_id
        return DataLoader(
            examples,
            batch_sampler=self.work.batches,
            collate_fn=lambda batch: collate(batch, pad_id),
        )


def run(library: str, work: Work) -> float:
    """CPU seconds of the updates after the warm-up."""
    torch.manual_seed(0)
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    given = still if library == "peft_still" else {}
    encoder = AutoModel.from_pretrained(work.encoder, add_pooling_layer=False, **given)
    hidden = encoder.config.hidden_size
    model = Model(add_modules(library, work.plan, encoder), hidden, work.task.facts.outputs)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        options = TrainingArguments(
            folder, max_steps=len(work.batches), learning_rate=1e-3, weight_decay=0.01,
            max_grad_norm=1.0, bf16=work.precision == "bfloat16", use_cpu=True,
            logging_strategy="no", save_strategy="no", report_to=[], disable_tqdm=True,
            remove_unused_columns=False,
        )  # fmt: skip
        trainer = Batched(
            work, model=model, args=options, train_dataset=work.examples, callbacks=[clock]
        )
        trainer.train()
    return clock.times[-1] - clock.times[WARM - 1]


if __name__ == "__main__":
    name, *given = sys.argv[1:]
    answer(partial(run, name), given)
