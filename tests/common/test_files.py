"""Writing whole files or none, and what a stage says when it cannot go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fishpal.common.errors import FishpalError
from fishpal.common.files import replacing, write_json, write_text
from tests.project.closure import ROOT

WRITERS = {
    "json": "from fishpal.common.files import write_json; write_json('out', list(range(9000)))",
    "arrow": "from fishpal.records.arrow import write_split;"
    " write_split('out', iter([{'input_ids': [[1] * 9000], 'label': [0]}]), False)",
    "safetensors": "import numpy as np; from fishpal.records.grams import Grams;"
    " Grams(np.zeros((9000, 2), 'f4'), np.zeros(9000, 'i8')).save('out')",
    "parquet": "import numpy as np, pandas as pd; from fishpal.common.files import replacing;\n"
    "with replacing('out') as draft:\n"
    "    pd.DataFrame({'x': np.random.default_rng(0).random(9000)}).to_parquet(draft)",
}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_one_error_and_leaves_nothing(tmp_path, writer):
    """A limit on the size of files makes real writes fail as a full disk does."""
    (tmp_path / "out").write_text("before")
    code = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from fishpal.common.errors import FishpalError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "try:\n"
        + "".join(f"    {line}\n" for line in WRITERS[writer].split("\n"))
        + "except FishpalError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.startswith("out: cannot be written: "), done.stderr
    assert done.stdout.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out").read_text() == "before"


def test_replacing_swaps_folders_whole(tmp_path):
    target = tmp_path / "a" / "b"
    for content in ("one", "two"):
        with replacing(target) as draft:
            draft.mkdir()
            write_text(draft / content, content)
    assert [path.name for path in target.iterdir()] == ["two"]
    with pytest.raises(RuntimeError), replacing(target) as draft:
        draft.mkdir()
        raise RuntimeError
    assert [path.name for path in target.iterdir()] == ["two"]
    assert [path.name for path in target.parent.iterdir()] == ["b"]


def test_what_a_killed_writer_left_goes_with_the_next_writing(tmp_path):
    code = (
        "import os, signal; from fishpal.common.files import replacing\n"
        "with replacing('out') as draft:\n"
        "    draft.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env)
    (tmp_path / ".out.mine").mkdir()  # nobody's holder
    assert len(list(tmp_path.iterdir())) == 2
    with replacing(tmp_path / "out") as draft:
        write_text(tmp_path / "out", "meanwhile")  # a living writer's holder stays
        draft.write_text("whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.mine", "out"]
    assert (tmp_path / "out").read_text() == "whole"


def test_a_place_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FishpalError, match="file/x.json: cannot be written"):
        write_json(tmp_path / "file" / "x.json", {})


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("select_plan nope fishpal", "error: task is 'nope'; allowed: movies"),
        ("select_plan movies fishpall", "error: method is 'fishpall' (did you mean 'fishpal'?)"),
        ("select_plan movies", "error: arguments are 'movies'; allowed: <task> <method>"),
        ("select_plan movies fishpal", "error: artifacts/fisher/movies.json: cannot be read"),
        ("train_plan movies lora -1", "error: seed is '-1'; allowed: integers from 0"),
        ("train_plan movies lora 0", "error: artifacts/encoder"),
        ("evaluate_plan movies lora 0", "error: artifacts/tokens/movies/task.json"),
        ("measure_fisher movies", "error: artifacts/encoder"),
        ("tokenize_task movies", "error: artifacts/"),
        ("write_report", "error: artifacts/"),
    ],
)
def test_a_stage_that_cannot_go_on_says_why_in_one_line(tmp_path, command, message):
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    module, *names = command.split()
    done = subprocess.run(
        [sys.executable, "-m", f"stages.{module}", *names], cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
    assert sorted(p.name for p in tmp_path.rglob("*")) in (
        ["params.yaml"],
        ["artifacts", "params.yaml"],
    )


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
