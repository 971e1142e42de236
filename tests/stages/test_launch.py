"""Stages that start processes of their own: how they end, and what they say."""

from __future__ import annotations

import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
import torch.distributed.launcher.api  # noqa: F401 - once here, not in every fork

from benchmarks.toy.project import ROOT, edit_yaml
from stages.runner import LAUNCHER
from tests.stages.toy_project import run_stage
from tests.together import together

SAID = "warning: odd\n"  # by one of the two
OUTPUTS = ("trained/toy/lora/0", "curves/toy/lora")


@pytest.fixture(autouse=True)
def at_home(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def runs(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
@pytest.mark.parametrize(
    ("what", "code", "said"),
    [
        ("refuse", 1, f"{SAID}error: rows are 0; allowed: 1\n"),
        ("kill", 1, f"{SAID}error: process 1 of 2 ended by SIGKILL\n"),
        ("interrupt", 130, SAID),
    ],
)
def test_processes_end_together(tmp_path, what, code, said):
    place, log = tmp_path / "place", tmp_path / "log"
    place.mkdir()
    shutil.copy(ROOT / "params.yaml", place)
    assert run_stage(place, f"shared_stage {what}", log, "tests.stages") == code
    deadline = time.monotonic() + 20
    while any(runs((place / rank).read_text()) for rank in "01"):
        assert time.monotonic() < deadline, "a process outlived the launcher"
        time.sleep(0.05)
    assert log.read_text() == said


def test_params_start_what_torchrun_does(project, tmp_path):
    """`train.processes` and two processes by hand leave the same bytes; evaluating them, too."""
    started, by_hand, log = tmp_path / "started", tmp_path / "by_hand", tmp_path / "log"
    for root in (started, by_hand):
        shutil.copytree(project, root)
        for folder in ("trained", "curves", "checkpoints", "evaluated"):
            shutil.rmtree(root / "artifacts" / folder, ignore_errors=True)
    # What is launched sees the CPU as it is, and `auto` could be bfloat16 there.
    both = {"precision": "float32"}
    edit_yaml(by_hand / "params.yaml", lambda params: params["train"].update(both))
    edit_yaml(started / "params.yaml", lambda params: params["train"].update(both, processes=2))

    def stage(name):
        assert together(lambda rank: log_of(by_hand, name, tmp_path / str(rank))) == [0, 0]

    def log_of(root, name, log):
        assert run_stage(root, f"{name} toy lora 0", log) == 0, log.read_text()
        assert log.read_text() == ""

    log_of(started, "train_plan", log)
    stage("train_plan")
    for output in OUTPUTS:
        files = sorted((started / "artifacts" / output).iterdir())
        assert files
        for file in files:
            assert file.read_bytes() == (by_hand / file.relative_to(started)).read_bytes()
    log_of(started, "evaluate_plan", log)
    stage("evaluate_plan")
    for file in (started / "artifacts/evaluated/toy/lora/0").iterdir():
        assert file.read_bytes() == (by_hand / file.relative_to(started)).read_bytes()


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        ("run_pilot toy", "error: processes are 2; allowed in this stage: one\n"),
        ("train_plan toy lora 0", "error: params.yaml: train.processes is 9; allowed: one a row of"
         " a batch at most, batch_size 8\n"),
    ],
)  # fmt: skip
def test_what_cannot_be_shared_is_refused(project, tmp_path, monkeypatch, stage, said):
    shutil.copy(project / "params.yaml", tmp_path)
    if stage.startswith("run"):
        monkeypatch.setenv("WORLD_SIZE", "2")
    else:
        edit_yaml(tmp_path / "params.yaml", lambda params: params["train"].update(processes=9))
    assert run_stage(tmp_path, stage, tmp_path / "log") == 1
    assert (tmp_path / "log").read_text() == said


@pytest.mark.skipif(sys.platform != "linux", reason="as above")
def test_a_process_whose_launcher_died_while_it_started_ends(tmp_path, monkeypatch):
    """It would wait for the others' meeting place for half an hour otherwise."""
    monkeypatch.setenv(LAUNCHER, "1")
    assert run_stage(tmp_path, "run_pilot toy", tmp_path / "log") == 128 + signal.SIGTERM
