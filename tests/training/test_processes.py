"""Training and evaluating in several processes, and what becomes of them where one is lost."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.toy.encoder import tiny_folder
from fishpal.common.errors import ParamsError, ProcessError
from fishpal.encoders.encoder import load_encoder
from fishpal.params.module_options import AdapterOptions, LoraOptions, ModuleOptions
from fishpal.training.checkpoint import Checkpoint
from tests.conftest import random_examples
from tests.together import together
from tests.training.test_resume import OPTIONS, Fragile, Killed, run

FIT = random_examples(25, seed=1)
KILLED = -signal.SIGKILL
MODULES = ModuleOptions(adapter=AdapterOptions(4), lora=LoraOptions(2))


@pytest.fixture
def calm(tmp_path):
    """Encoders without dropout, whose streams differ between processes."""
    path = tiny_folder("bert", tmp_path / "bert") / "config.json"
    silent = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    path.write_text(json.dumps(json.loads(path.read_text()) | silent))
    return lambda: load_encoder(path.parent)


def keep(path, weights, result):
    losses = torch.tensor([[p.fit_loss or 0.0, p.pick_loss] for p in result.curve])
    save_file({**weights, "losses": losses, "best": torch.tensor(result.best_update)}, path)


def test_two_processes_end_as_one(calm, tmp_path):
    """Uneven shares, last batches of 1 and 4 rows, and weights that no gradient reaches."""
    cases = [(8, False), (7, False), (12, True)]

    def refused(rank):
        with pytest.raises(ParamsError, match="processes is 2; allowed: one a row of a batch"):
            run(calm, options=replace(OPTIONS, batch_size=1))

    def train_all(place):
        for size, full in cases:
            options = replace(OPTIONS, batch_size=size, patience=2)
            keep(place(size), *run(calm, fit=FIT, options=options, full=full, modules=MODULES))

    train_all(lambda size: tmp_path / f"one{size}")
    assert together(lambda rank: train_all(lambda size: tmp_path / f"{rank}of{size}")) == [0, 0]
    assert together(refused) == [0, 0]
    for size, _ in cases:
        files = [tmp_path / f"{name}{size}" for name in ("one", "0of", "1of")]
        assert files[1].read_bytes() == files[2].read_bytes()
        one, two = map(load_file, files[:2])
        for name, tensor in one.items():
            torch.testing.assert_close(two[name], tensor, rtol=0, atol=1e-4, msg=name)


class Deadly(Fragile):
    """The fit part, that kills the process when more than `count` examples have been read."""

    def __getitem__(self, index):
        try:
            return super().__getitem__(index)
        except Killed:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_other_and_both_go_on(tiny_encoder, tmp_path, victim):
    def part(name, killed=None):
        def work(rank):
            checkpoint = Checkpoint(tmp_path / name / "state", "key", seconds=0)
            fit = Deadly(FIT, 40) if rank == killed else FIT
            try:
                found = run(tiny_encoder, checkpoint, fit)
            except ProcessError as error:
                (tmp_path / "said").write_text(str(error))
                raise SystemExit(1) from None
            keep(tmp_path / name / str(rank), *found)

        (tmp_path / name).mkdir(exist_ok=True)
        return together(work)

    start = time.monotonic()
    codes = part("broken", killed=victim)
    assert codes[victim] == KILLED and codes[1 - victim] == 99
    assert f"process {1 - victim} of 2 lost another one" in (tmp_path / "said").read_text()
    assert time.monotonic() - start < 30
    _, state = Checkpoint(tmp_path / "broken" / "state", "key").load()
    assert state["update"] >= 4
    assert part("broken") == part("whole") == [0, 0]
    for rank in "01":
        files = [tmp_path / name / rank for name in ("broken", "whole")]
        assert files[0].read_bytes() == files[1].read_bytes()
