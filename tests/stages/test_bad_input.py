"""Every bad input of design §10: one line, exit code 1, nothing left behind."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.stages.bad_inputs import CASES
from tests.stages.spoils import Spoil
from tests.stages.toy_project import STAGES, run_stage


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()
    }


@pytest.mark.parametrize(("name", "stage", "spoil", "expected"), CASES, ids=[c[0] for c in CASES])
def test_a_bad_input_is_one_line(
    project: Path, tmp_path: Path, name: str, stage: str, spoil: Spoil, expected: str
) -> None:
    root = shutil.copytree(project, tmp_path / "project")
    spoil(root)
    before = contents(root)
    assert before != contents(project), "nothing was spoilt"
    code = run_stage(root, stage, tmp_path / "log")
    said = (tmp_path / "log").read_text()
    assert code == 1, said
    assert said.startswith("error: ") and said.count("\n") == 1, said
    assert "Traceback" not in said and said.strip().isprintable()
    assert "/." not in said, "names a temporary folder, which is gone"
    assert expected in said
    assert contents(root) == before


@pytest.mark.parametrize("stage", STAGES)
def test_without_the_spoil_a_stage_succeeds(project: Path, tmp_path: Path, stage: str) -> None:
    """Also over the outputs of an earlier run, as in the cases."""
    root = shutil.copytree(project, tmp_path / "project")
    assert run_stage(root, stage, tmp_path / "log") == 0, (tmp_path / "log").read_text()


def test_there_are_enough_cases() -> None:
    names = [case[0] for case in CASES]
    assert len(set(names)) == len(names) >= 160
