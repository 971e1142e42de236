"""How a stage ends, and what it says when it cannot go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.toy.project import ROOT
from fishpal.common.errors import FishpalError
from stages.runner import parse_seed
from tests.stages.toy_project import run_stage

STAGE = """
import atexit, os, signal, sys
from stages.runner import run
atexit.register(os.kill, os.getpid(), signal.SIGTERM)
def main(params):
    {}
run(main)
"""


@pytest.mark.parametrize(
    ("body", "said"),
    [("pass", ""), ("os.kill(os.getpid(), signal.SIGTERM)", ""), ("sys.exit('said')", "said\n")],
)
def test_terminating_an_ending_stage_is_quiet(body, said):
    """As happens where torch takes a second to take itself down."""
    done = subprocess.run(
        [sys.executable, "-c", STAGE.format(body)], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (-signal.SIGTERM, said)


@pytest.mark.parametrize("text", ["-1", "00", "1.0", " 1", "4294967296", "9" * 5000, "٣", ""])
def test_a_seed_has_one_spelling(text):
    assert parse_seed("4294967295") == 2**32 - 1 and parse_seed("0") == 0
    with pytest.raises(FishpalError, match="allowed: integers from 0 below"):
        parse_seed(text)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("select_plan nope fishpal", "error: task is 'nope'; allowed: movies"),
        ("select_plan movies fishpall", "error: method is 'fishpall' (did you mean 'fishpal'?)"),
        ("select_plan movies", "error: arguments are 'movies'; allowed: <task> <method>"),
        ("select_plan movies fishpal", "error: artifacts/fisher/movies.json: cannot be read"),
        ("train_plan movies lora -1", "error: seed is '-1'; allowed: integers from 0"),
        ("train_plan movies lora 0", "error: artifacts/plans/movies/lora.json: cannot be read"),
        ("evaluate_plan movies lora 0", "error: artifacts/trained/movies/lora/0/plan.json"),
        ("measure_fisher movies", "error: artifacts/encoder"),
        ("tokenize_task movies", "error: artifacts/"),
        ("write_report", "error: artifacts/"),
    ],
)
def test_a_stage_that_cannot_go_on_says_why_in_one_line(tmp_path, command, message):
    place, log = tmp_path / "place", tmp_path / "log"
    place.mkdir()
    (place / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    assert run_stage(place, command, log) == 1
    said = log.read_text()
    assert said.startswith(message) and said.count("\n") == 1
    assert {path.name for path in place.rglob("*")} <= {"params.yaml", "artifacts"}


def test_bad_params_stop_a_stage(tmp_path):
    text = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text.replace("criterion: snr", "criterium: snr"))
    done = subprocess.run(
        [sys.executable, "-m", "stages.checks.params"], cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "params.yaml: select.criterium is unknown (did you mean 'criterion'?)" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_a_stage_ends_with_its_parent(tmp_path):
    """A killed `dvc` must not leave a stage that goes on writing."""
    stage = (
        "import time; from pathlib import Path; from stages import runner\n"
        "def main(params):\n    Path('up').touch()\n    time.sleep(60)\n"
        "runner.run(main)\n"
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {stage!r}])"
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", parent], cwd=tmp_path, env=env)
    deadline = time.monotonic() + 60
    while not (tmp_path / "up").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 1
    process.send_signal(signal.SIGKILL)
    process.wait()
    while Path(f"/proc/{children[0]}").exists() and time.monotonic() < deadline:
        status = Path(f"/proc/{children[0]}/stat").read_text().rsplit(")", 1)[1].split()[0]
        if status == "Z":
            break
        time.sleep(0.05)
    else:
        assert not Path(f"/proc/{children[0]}").exists(), "the stage outlived its parent"
