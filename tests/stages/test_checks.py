"""What `make report` looks at before any stage runs, in a project of two stages."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.toy.project import ROOT, edit_yaml, write_project
from benchmarks.toy.warm import warm_bin
from fishpal.common.files import read_json, write_json
from fishpal.params.load import load_params
from fishpal.params.sections import FolderEncoder
from fishpal.params.yaml import parse_yaml
from stages import hash_source
from stages.checks import sources
from stages.hash_source import hash_files
from stages.runner import ARTIFACTS

PIPELINE = """
stages:
  first: {cmd: echo 1 > a, outs: [a]}
  second: {matrix: {task: "${grid.tasks}"}, cmd: "echo ${item.task}"}
"""
LOCKED = "schema: '2.0'\nstages:\n  first:\n    cmd: echo 1 > a\n"
TWO = "  second@toy:\n    cmd: echo toy\n    params:\n      params.yaml:\n        a: '  x:'\n"
GONE = "  second@other:\n    cmd: echo other\n    deps:\n    - path: b\n      hash: md5\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A DVC project without git, whose data and params are the toy project's."""
    write_project(tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = true\n")
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    return tmp_path


def check(place: Path, name: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [warm_bin() / "python", "-m", f"stages.checks{name}"], cwd=place,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    "content", ["", LOCKED[14:], LOCKED[:-12], LOCKED + "  b: [", "x", b"\xff", GONE[:-20]]
)
def test_a_damaged_lock_file_is_removed(place, content):
    lock = place / "dvc.lock"
    lock.write_bytes(content if isinstance(content, bytes) else content.encode())
    done = check(place, ".lock")
    assert done.returncode == 0 and not lock.exists()
    assert done.stderr.startswith("dvc.lock: is damaged; removed") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("content", [LOCKED, LOCKED + TWO, LOCKED + GONE])
def test_a_whole_lock_file_stays_as_it_is(place, content):
    """Cells that left the grid included: coming back to them is quick so."""
    (place / "dvc.lock").write_text(content)
    done = check(place, ".lock")
    assert (done.returncode, done.stderr) == (0, "")
    assert (place / "dvc.lock").read_text() == content


@pytest.mark.parametrize("name", ["artifacts", "reports"])
def test_a_file_where_outputs_go(place, name):
    (place / name).write_text("x")
    done = check(place, ".place")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"error: {name}: cannot be written: File exists; allowed: a fold")
    assert (place / name).read_text() == "x"


def test_a_folder_that_cannot_be_written(place):
    """Immutable for root, read-only for others."""
    folder = place / "artifacts"
    folder.mkdir(mode=0o500)
    if (
        os.geteuid() == 0
        and subprocess.run(["chattr", "+i", folder], capture_output=True).returncode
    ):
        pytest.skip("this file system knows no immutable folders")
    try:
        done = check(place, ".place")
    finally:
        subprocess.run(["chattr", "-i", folder], capture_output=True)
        folder.chmod(0o700)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: artifacts: cannot be written: ")


def test_the_place_is_left_as_it_was(place):
    for _ in range(2):
        assert check(place, ".place").returncode == 0
    assert sorted(path.name for path in place.iterdir() if path.name[0] != ".") == [
        "artifacts", "data", "dvc.yaml", "params.yaml", "reports"
    ]  # fmt: skip
    assert not list((place / "artifacts").iterdir()) + list((place / "reports").iterdir())


def test_dvc_is_told_whether_there_is_git(place):
    (place / ".dvc" / "config").write_text("[cache]\n    dir = x\n")
    local = place / ".dvc" / "config.local"
    local.write_text("[cache]\n    type = copy\n")
    assert check(place, ".place").returncode == 0
    assert "no_scm = True" in local.read_text() and "type = copy" in local.read_text()
    subprocess.run(["git", "init", "-q"], cwd=place, check=True)
    assert check(place, ".place").returncode == 0
    assert "no_scm = False" in local.read_text() and "type = copy" in local.read_text()


def test_an_unknown_criterion_of_a_method(place):
    edit_yaml(place / "params.yaml", lambda p: p["methods"]["fishpal"].update(criterion="snrr"))
    done = check(place, "")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "methods.fishpal.criterion is 'snrr' (did you mean 'snr'?)" in done.stderr


def test_a_key_that_dvc_follows_is_not_left_to_its_default(place):
    """DVC would say so after measuring, racing and choosing."""
    (place / "dvc.yaml").write_text(
        PIPELINE + "  third: {cmd: echo, params: [head, train.warmup]}\n"
    )
    assert check(place, ".params").returncode == 0
    edit_yaml(place / "params.yaml", lambda params: params["train"].pop("warmup"))
    done = check(place, ".params")
    said = "error: params.yaml: train.warmup is missing, which dvc.yaml follows; allowed: a value"
    assert done.returncode == 1 and done.stderr == f"{said} (docs/parameters.md)\n"


def test_a_plan_that_the_thesis_does_not_have(place):
    edit_yaml(place / "params.yaml", lambda p: p["methods"].update(fishpal={"rule": "thesis"}))
    done = check(place, ".params")
    assert "methods.fishpal.plan is 'toy'; allowed: mnli, mrpc, sst2" in done.stderr


def test_files_that_are_away_stay_in_use_and_those_of_an_earlier_source_do_not(
    place, monkeypatch, capsys
):
    monkeypatch.chdir(place)
    write_json(ARTIFACTS.source("catalog.toy"), {"data/toy/train.jsonl": "0"})
    shutil.rmtree("data/toy")
    assert not sources._has_changed(load_params(), "catalog.toy")
    assert "data/toy/test.jsonl, data/toy/train.jsonl: not there; what" in capsys.readouterr().err
    movies = parse_yaml((ROOT / "params.yaml").read_text(), "params.yaml")["catalog"]["movies"]
    edit_yaml(place / "params.yaml", lambda params: params["catalog"].update(toy=movies))
    assert sources._has_changed(load_params(), "catalog.toy")
    assert "data/toy/train.jsonl: changed; catalog.toy is read again" in capsys.readouterr().err
    hash_source.main(load_params(), "catalog.toy")
    assert read_json(ARTIFACTS.source("catalog.toy")) == {}, "a package has no files of its own"
    assert not sources._has_changed(load_params(), "catalog.toy")


def test_every_file_of_a_folder_that_an_encoder_needs_counts(place):
    source = FolderEncoder(type="folder", folder=str(place / "data" / "encoder"))
    before = hash_files(source)
    assert {Path(name).name for name in before} >= {"config.json", "model.safetensors"}
    (place / "data" / "encoder" / "README.md").write_text("x")
    assert hash_files(source) == before
    for name in before:
        path = Path(name)
        content = path.read_bytes()
        path.write_bytes(content + b" ")
        assert [one for one in before if hash_files(source)[one] != before[one]] == [name]
        path.write_bytes(content)
    Path(name).unlink()
    assert set(before) - set(hash_files(source)) == {name}
