"""The grid on workers of dask.distributed, by the real `dvc`, git and dask."""

from __future__ import annotations

import io
import pickletools
import subprocess
import sys

import cloudpickle
import pytest

from benchmarks.toy.clone import Clone, outputs
from benchmarks.toy.warm import warm_bin
from fishpal.common.errors import FishpalError
from stages.grid import cluster
from stages.grid.arguments import cell_command, options_of, parse
from stages.grid.cluster import Options, connect
from stages.grid.compute import compute
from stages.grid.seed import git, update_clone, write_seed
from stages.grid.words import last_line

CELLS = ["evaluate@toy-lora-0", "evaluate@toy-adapter-0"]
PLANTED = """\
    if method == "adapter" and not Path("data").exists():  # which no worker's clone has
        sys.exit("error: planted")
"""


def run_grid(clone: Clone, *words: str) -> tuple[int, str]:
    """Its exit code and words; workers' stages run in forks of the warm process."""
    command = [sys.executable, "-m", "stages.run_grid", "--python", str(warm_bin() / "python")]
    done = subprocess.run(
        [*command, *words], cwd=clone.root, env=clone.env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=500,
    )  # fmt: skip
    return done.returncode, done.stdout


def test_a_grid_on_two_workers_one_cell_fails(tmp_path):
    clone = Clone(tmp_path / "clone")
    clone.edit(lambda params: params["grid"].update(methods=["lora", "adapter"]))
    stage = clone.root / "stages" / "train_plan.py"  # uncommitted code travels, too
    text = stage.read_text().replace(
        "import Params\n", "import Params\nimport sys\nfrom pathlib import Path\n", 1
    )
    start = "    check_cell(params, name, method)\n"
    assert start in text
    stage.write_text(text.replace(start, start + PLANTED))
    code, said = run_grid(clone, "--dry")
    on_workers = [line for line in said.splitlines() if line.startswith("on a worker: dvc repro ")]
    assert code == 0 and [line.split()[-1] for line in on_workers] == CELLS
    assert "here: dvc repro select@toy-lora\n" in said and not (clone.root / "artifacts").exists()

    code, said = run_grid(clone)
    lines = said.splitlines()
    assert code == 1 and lines[-1] == "error: 1 of 2 cells failed, as said above"
    words = {line.split(" (")[0].split(" [")[0] for line in lines if line.startswith("evaluate@")}
    assert words == {f"{CELLS[0]}: done", f"{CELLS[1]}: error: planted"}
    assert "Traceback" not in said and "Running stage 'train" not in said

    alone = {
        stage.replace("evaluate", name) for stage in CELLS[1:] for name in ("train", "evaluate")
    }
    assert clone.repro() == alone | {"report"}, "the other cell comes from the run cache"
    assert "Trained on " in (clone.root / "reports" / "results.md").read_text()
    found = outputs(clone.root)
    clone.dvc("repro", "--force", "--single-item", "train@toy-lora-0")
    assert outputs(clone.root) == found, "a worker's bytes are those of the main clone"


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nowhere", "smoke://signals:1"])
def test_an_unknown_scheduler_is_one_line(address, monkeypatch):
    monkeypatch.setattr(cluster, "SECONDS", 0.5)
    with (
        pytest.raises(FishpalError, match=f"^--scheduler is '{address}': .+; allowed: ") as error,
        connect(Options(1, address)),
    ):
        pass
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--workers", "0"], "--workers is 0; allowed: 1 or more"),
        (["--worker"], "arguments: .*--help shows what is allowed"),
        (["--scheduler", "tls://a:1", "--tls-ca", "gone"], "--tls-ca is 'gone'; allowed: a file"),
    ],
)
def test_a_bad_argument_is_one_line(words, said):
    with pytest.raises(FishpalError, match=said):
        options_of(parse(words))


def test_only_plain_commands_travel(tmp_path):
    """What dask would pickle: the standard library's function by its name, and plain values."""

    class Stop(Exception):
        pass

    class Recorder:
        def submit(self, *given, **named):
            self.given = given, named
            raise Stop

    client, given = Recorder(), parse(["--shared", str(tmp_path), "--gpus"])
    with pytest.raises(Stop):
        compute(client, {CELLS[0]: cell_command(given, CELLS[0])}, tmp_path, gpus=True)
    (function, command), named = client.given
    assert function is subprocess.run and command[1:3] == ["-m", "stages.grid.cell"]
    assert named["resources"] == {"GPU": 1} and command[-2:] == ["0,1", CELLS[0]]
    steps = pickletools.genops(io.BytesIO(cloudpickle.dumps(client.given, protocol=3)))
    found = {arg for step, arg, _ in steps if step.name in ("GLOBAL", "REDUCE", "INST")}
    assert found == {"subprocess run"}


def test_a_clone_gets_the_working_tree_as_it_stands(tmp_path):
    root, clone = tmp_path / "root", tmp_path / "root" / "artifacts" / "clone"
    (root / ".dvc").mkdir(parents=True)
    (root / ".dvc" / "config").write_text("[cache]\n    type = symlink\n")
    (root / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
    for name, text in {"a.py": "1", "b.py": "2", ".gitignore": "artifacts\n"}.items():
        (root / name).write_text(text)
    git(root, "init", "--quiet")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "start")
    (root / "a.py").write_text("edited")
    (root / "b.py").unlink()
    (root / "new.py").write_text("3")
    (root / "artifacts").mkdir()
    (root / "artifacts" / "big").write_text("x")
    commits = []
    for seed in (tmp_path / "seed", tmp_path / "again"):
        write_seed(root, seed)
        commits.append(git(seed, "rev-parse", "HEAD"))
    assert commits[0] == commits[1], "the same files give the same commit"
    update_clone(seed, clone)
    (clone / "artifacts").mkdir()
    (clone / "artifacts" / "done").write_text("y")
    (clone / "left.py").write_text("of an earlier commit")
    for spoil in (False, True):  # a damaged clone is made anew; the project around it stays
        if spoil:
            (clone / ".git" / "HEAD").write_text("damaged")
        update_clone(seed, clone)
        names = {path.name for path in clone.iterdir()} - {".git", ".dvc"}
        assert names == {"a.py", "new.py", ".gitignore"} | (set() if spoil else {"artifacts"})
        assert (clone / "a.py").read_text() == "edited"
        config = (clone / ".dvc" / "config.local").read_text()
        assert (root / "new.py").is_file() and not (root / "b.py").exists()
        assert f"dir = {root / '.dvc' / 'cache'}" in config and "symlink" in config


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("a\nerror: b\nERROR: failed to run: c\n", "error: b"),
        ("a\rERROR: failed to run: c\nd\n", "ERROR: failed to run: c"),
        ("a\nKilled\n\n", "Killed"),
        ("", "no words"),
    ],
)
def test_the_line_of_a_failure(said, line):
    assert last_line(said) == line
