"""`make report` itself, where the path has spaces and quotes and the project came without git."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.toy.clone import Clone
from benchmarks.toy.warm import warm_bin

NAME = """my "pro'ject" $x"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A project of one method, as out of a source archive; its `.venv` has all packages."""
    made = Clone(tmp_path_factory.mktemp("path") / NAME)
    made.edit(lambda params: params["grid"].update(methods=["lora"]))
    shutil.rmtree(made.root / ".git")
    python = made.root / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(warm_bin() / "python")
    (made.root / ".venv" / ".installed").touch()
    return made


def call_make(root: Path, *targets: str) -> subprocess.CompletedProcess[str]:
    """As from a shell: what a `make` around the tests hands down would make it name its folder."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    env.pop("MFLAGS", None)
    return subprocess.run(["make", *targets], cwd=root, env=env, capture_output=True, text=True)


def make(root: Path, *targets: str) -> str:
    done = call_make(root, *targets)
    said = done.stdout + done.stderr
    assert done.returncode == 0 and "Traceback" not in said, said
    return said


def test_a_report_without_git_in_a_path_with_spaces_and_quotes(archive):
    neighbours = [archive.root.with_name(name) for name in ("my", """my "pro'ject\"""")]
    for folder in neighbours:
        folder.mkdir(mode=0o755)
    said = make(archive.root, "report")
    assert "Running stage 'train@toy-lora-0'" in said
    assert said.endswith("The report is in reports/results.html and results.md\n")
    assert (archive.root / "reports" / "results.md").is_file()
    assert oct((archive.root / ".dvc/tmp/site_cache").stat().st_mode)[-3:] == "700"
    for folder in neighbours:
        assert oct(folder.stat().st_mode)[-3:] == "755" and not list(folder.iterdir())
    assert "Running stage" not in make(archive.root, "report")


def test_bad_params_end_in_their_line(archive):
    before = (archive.root / "params.yaml").read_text()
    archive.edit(lambda params: params["train"].update(lr=1))
    done = call_make(archive.root, "report")
    (archive.root / "params.yaml").write_text(before)
    assert done.returncode == 2
    assert done.stderr.startswith("error: params.yaml: train.lr is unknown; allowed: ")
    assert "Traceback" not in done.stderr and "dvc repro" not in done.stdout


@pytest.mark.parametrize("target", ["test", "lint", "study", "benchmark", "faults", "clean"])
def test_no_target_expands_the_path(archive, target):
    said = make(archive.root, "-n", target)
    assert said and "pro'ject" not in said
