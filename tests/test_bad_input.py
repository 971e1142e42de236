"""Every bad input of design §10: one line, exit code 1, nothing left behind."""

from __future__ import annotations

import os
import runpy
import shutil
import sys
import traceback
from pathlib import Path

import pytest

from tests.bad_inputs import CASES, Spoil
from tests.clone import YAML12, Clone, save_tokenizer, write_task
from tests.closure import ROOT
from tests.conftest import tiny_folder

METHODS = ("fishpal", "lora")
STAGES = [
    "check_params",
    "prepare_encoder",
    "download_task toy",
    "tokenize_task toy",
    "measure_fisher toy",
    *(f"select_plan toy {method}" for method in METHODS),
    *(f"train_plan toy {method} 0" for method in METHODS),
    *(f"evaluate_plan toy {method} 0" for method in METHODS),
    "write_report",
]


def run_stage(root: Path, command: str, log: Path) -> int:
    """A stage in a forked child, its words in `log`; a new interpreter would cost seconds."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 99
        try:
            with log.open("wb") as file:
                for number in (1, 2):
                    os.dup2(file.fileno(), number)
            sys.stdout, sys.stderr = (os.fdopen(n, "w", closefd=False) for n in (1, 2))
            os.chdir(root)
            module, *sys.argv[1:] = command.split()
            runpy.run_module(f"stages.{module}", run_name="__main__")
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
            if isinstance(end.code, str):
                sys.stderr.write(end.code + "\n")
        except BaseException:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project with all its artifacts: every stage has run in it."""
    root = tmp_path_factory.mktemp("project")
    tiny_folder("bert", root / "data" / "encoder")
    save_tokenizer(root / "data" / "encoder")
    write_task(root / "data" / "toy", seed=0)
    params = YAML12.load((ROOT / "params.yaml").read_text())
    Clone._small(params)
    params["grid"]["methods"] = list(METHODS)
    params["catalog"].pop("other")
    with (root / "params.yaml").open("w") as file:
        YAML12.dump(params, file)
    for stage in STAGES:
        log = root.parent / "log"
        assert run_stage(root, stage, log) == 0, f"{stage}: {log.read_text()}"
    return root


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
    assert expected in said
    assert contents(root) == before


def test_there_are_enough_cases() -> None:
    names = [case[0] for case in CASES]
    assert len(set(names)) == len(names) >= 60
