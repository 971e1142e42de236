"""What a checkpoint belongs to: params, data, and every source file of the library."""

from __future__ import annotations

import shutil
import subprocess
import sys

from tests.project.closure import ROOT

KEY = (
    "from pathlib import Path; from fishpal.training.checkpoint import Checkpoint;"
    " from fishpal.records.finished import result_key;"
    " import sys, torch; key = result_key([sys.argv[1]], [Path('data')]);"
    " state = Checkpoint('state', key);"
    " state.save({'w': torch.ones(1)}, {}) if sys.argv[2] == 'save' else"
    " print(state.load() is not None)"
)


def test_an_edited_module_makes_the_checkpoint_useless(tmp_path):
    """A killed training must not go on with other code than it began with."""
    shutil.copytree(ROOT / "fishpal", tmp_path / "fishpal")
    (tmp_path / "data").write_text("rows")

    def run(part="params", what="load"):
        command = [sys.executable, "-c", KEY, part, what]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    run(what="save")
    assert run() == "True"
    assert run(part="other params") == "False"
    for name in ("modules/lora.py", "encoders/attention.py", "records/plan.py"):
        path = tmp_path / "fishpal" / name
        before = path.read_text()
        path.write_text(before + "# edited\n")
        assert run() == "False", name
        path.write_text(before)
        assert run() == "True"
    (tmp_path / "data").write_text("other rows")
    assert run() == "False"
