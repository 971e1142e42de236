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
