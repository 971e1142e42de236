"""Run under `torchrun`: measure a table and write it from the main process."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

from fishpal.common.files import write_json
from fishpal.encoders.encoder import load_encoder
from fishpal.fisher.engine import measure_fisher
from fishpal.models.head import start_head
from fishpal.models.processes import Processes
from fishpal.params.options import FisherOptions, HeadOptions
from fishpal.records.task import TokenisedTask
from tests.conftest import random_examples, task_facts
from tests.modules.test_modules import SMALL

if __name__ == "__main__":
    encoder = load_encoder(sys.argv[1])
    task = TokenisedTask(task_facts(3), random_examples(13, classes=3))
    head = start_head(encoder, task, HeadOptions())
    options = FisherOptions(batch_size=2, device="cpu", full=True)
    table, grams = measure_fisher(encoder, head, task, SMALL, options, progress=False)
    if Processes.started(torch.device("cpu")).main:
        folder = Path(sys.argv[2])
        table.save(folder / "table.json")
        grams.save(folder / "grams.safetensors")
        write_json(folder / "world.json", int(os.environ.get("WORLD_SIZE", "1")))
