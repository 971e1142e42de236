"""Writing whole files or none, and what a stage says when it cannot go on."""

from __future__ import annotations

import os
import subprocess
import sys

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


@pytest.mark.parametrize("name", ["b", "old", "b.old", ".old"])
def test_replacing_swaps_folders_whole(tmp_path, name):
    target = tmp_path / "a" / name
    for content in ("one", "two"):
        with replacing(target) as draft:
            draft.mkdir()
            write_text(draft / content, content)
    assert [path.name for path in target.iterdir()] == ["two"]
    with pytest.raises(RuntimeError), replacing(target) as draft:
        draft.mkdir()
        raise RuntimeError
    assert [path.name for path in target.iterdir()] == ["two"]
    assert [path.name for path in target.parent.iterdir()] == [name]


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


SWAP = (
    "import os, signal, sys; from fishpal.common.files import replacing\n"
    "def stop(event, given):\n"
    "    if event == 'os.rename' and os.fspath(given[0]) == str(draft):\n"
    "        {}\n"
    "with replacing('out') as draft:\n"
    "    draft.mkdir()\n"
    "    sys.addaudithook(stop)\n"
)
ENDS = {
    "interrupt": "raise KeyboardInterrupt",
    "error": "raise OSError('no space')",
    "kill": "os.kill(os.getpid(), signal.SIGKILL)",
}


@pytest.mark.parametrize("end", ENDS)
def test_a_swap_that_ends_half_way_loses_nothing(tmp_path, end):
    """The old folder has been moved away, and the new one cannot come, or nobody is left."""
    target = tmp_path / "out"
    target.mkdir()
    (target / "content").write_text("before")
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    code = SWAP.format(ENDS[end])
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True)
    assert done.returncode != 0
    assert target.exists() == (end != "kill")
    with pytest.raises(RuntimeError), replacing(target):
        assert (target / "content").read_text() == "before"
        raise RuntimeError
    assert (target / "content").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_a_killed_writer_moved_away_is_not_put_over_something_newer(tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    code = SWAP.format(ENDS["kill"])
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env)
    assert not target.exists()
    target.write_text("newer")
    with pytest.raises(RuntimeError), replacing(target):
        raise RuntimeError
    assert target.read_text() == "newer"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_without_the_caller_s_sign_is_not_replaced(tmp_path):
    target = tmp_path / "out"

    def write(content):
        with replacing(target, lambda folder: (folder / "mine").is_file()) as draft:
            draft.mkdir()
            (draft / "mine").write_text(content)

    for content in ("new", "again"):
        write(content)
        assert (target / "mine").read_text() == content
    (target / "mine").rename(target / "theirs")
    with pytest.raises(FishpalError, match="out: holds files of others, as theirs; allowed: a new"):
        write("lost")
    assert (target / "theirs").read_text() == "again"
    (target / "theirs").unlink()
    write("into an empty one")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_place_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FishpalError, match="file/x.json: cannot be written"):
        write_json(tmp_path / "file" / "x.json", {})
