"""Several runs at once: one clone, one cache, the experiments' queue; by the real `dvc`."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from benchmarks.toy.clone import Clone, outputs
from stages.runner import ARTIFACTS
from tests.project.closure import ROOT


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone that has not run anything."""
    made = Clone(tmp_path_factory.mktemp("clone"))
    made.edit(lambda params: params["grid"].update(methods=["lora"]))
    made.git("commit", "-qam", "one method")
    return made


def start(
    clone: Clone, *command: str, root: Path | None = None, output: int = subprocess.PIPE
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [clone.interpreter, *command], cwd=root or clone.root, env=clone.env, text=True,
        stdout=output, stderr=subprocess.STDOUT,
    )  # fmt: skip


def test_two_runs_at_once_in_one_clone(clone, tmp_path):
    """As `make report` runs them: the second waits, says so, and finds all done."""
    alone = [str(ROOT / ".ci" / "alone"), clone.interpreter, "-m", "dvc", "repro"]
    runs = [start(clone, *alone) for _ in range(2)]
    said = [run.communicate(timeout=500)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    waited = [text for text in said if "waiting for it" in text]
    assert len(waited) == 1 and "Running stage" not in waited[0]
    expected = outputs(clone.root)
    clone.git("add", "-A")
    clone.git("commit", "-qm", "run")
    # Plain `dvc` does not wait: it says who is in the way, or has nothing left to do.
    shutil.rmtree(clone.root / ARTIFACTS.root)
    runs = [start(clone, "-m", "dvc", "repro") for _ in range(2)]
    said = [run.communicate(timeout=500)[0] for run in runs]
    for run, text in zip(runs, said, strict=True):
        assert run.returncode == 0 or "lock" in text.lower() or "busy" in text.lower(), text
    clone.dvc("repro")
    assert outputs(clone.root) == expected


def test_two_clones_share_a_cache(clone, tmp_path):
    expected = outputs(clone.root)
    roots = [tmp_path / "one", tmp_path / "two"]
    for root in roots:
        ignore = shutil.ignore_patterns("artifacts", "cache", "tmp", "dvc.lock", "reports")
        shutil.copytree(clone.root, root, ignore=ignore)
        local = f"[cache]\n    dir = {tmp_path / 'cache'}\n"
        (root / ".dvc" / "config.local").write_text(local)
    runs = [start(clone, "-m", "dvc", "repro", root=root) for root in roots]
    said = [run.communicate(timeout=500)[0] for run in runs]
    for root, run, text in zip(roots, runs, said, strict=True):
        if run.returncode:  # DVC met a file that the other one was just writing into the cache
            gone = f"No such file or directory: '{tmp_path / 'cache'}"  # moved by the other
            assert "without a confirmation" in text or gone in text, text
            again = start(clone, "-m", "dvc", "repro", root=root)
            text = again.communicate(timeout=500)[0]
            assert again.returncode == 0, text
    for root in roots:
        assert outputs(root) == expected
        assert not (root / ".dvc" / "cache" / "files").exists()


def test_two_workers_of_the_queue(clone):
    before = outputs(clone.root)
    for rate in ("0.003", "0.004"):
        clone.dvc("exp", "run", "--queue", "-S", f"train.learning_rate.lora={rate}")
    # Its output is not waited for: workers keep it open, and may stay when all is done (dvc 3.67).
    workers = start(clone, "-m", "dvc", "queue", "start", "-j", "2", output=subprocess.DEVNULL)
    assert workers.wait() == 0
    deadline = time.monotonic() + clone.timeout
    while any(word in (status := clone.dvc("queue", "status")) for word in ("Queued", "Running")):
        assert time.monotonic() < deadline, status
        time.sleep(1)
    for task in _tasks(clone):
        assert "train_plan toy lora 0" in clone.dvc("queue", "logs", task)
    clone.dvc("queue", "stop", "--kill")
    assert status.count("Success") == 2 and "Failed" not in status, status
    assert outputs(clone.root) == before  # experiments ran beside the workspace
    shown = clone.dvc("exp", "show", "--csv", "--drop", "artifacts|fishpal/|stages/")
    assert "0.003" in shown and "0.004" in shown


def _tasks(clone: Clone) -> list[str]:
    lines = clone.dvc("queue", "status").splitlines()
    return [line.split()[0] for line in lines if line[:1].isalnum() and line[:4] not in "Task Work"]
