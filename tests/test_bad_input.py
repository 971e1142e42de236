"""Every bad input of design §10: one line, exit code 1, nothing left behind."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fishpal.artifacts import read_card, read_counts, read_curve, read_metrics, read_predictions
from fishpal.checkpoints import load_card
from fishpal.config import load_params
from fishpal.errors import FishpalError
from fishpal.grams import Grams
from fishpal.plan import Plan
from fishpal.pooling import load_pooling
from fishpal.specs import Limits
from fishpal.table import FisherTable
from fishpal.tokens import ArrowSplit, TaskFacts
from tests.bad_inputs import CASES
from tests.clone import YAML12, Clone, save_tokenizer, write_task
from tests.closure import ROOT
from tests.conftest import VOCAB, tiny_folder
from tests.spoils import Spoil
from tests.test_fuzz import VALUES, places

METHODS = ("fishpal", "lora")
TIMEOUT = 60  # seconds
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
            signal.alarm(TIMEOUT)
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


def read_rows(path: Path) -> None:
    split = ArrowSplit(path).check(TaskFacts("toy", ("a", "b"), 0), Limits(VOCAB, 2, 40))
    list(split), split.lengths()


# artifact, its reader; test_fuzz.py does the like with files of the report's own template
READERS: dict[str, Callable[[Path], Any]] = {
    "plans/toy/fishpal.json": Plan.load,
    "fisher/toy.json": FisherTable.load,
    "fisher/toy.safetensors": Grams.load,
    "tokens/toy/task.json": TaskFacts.load,
    "tokens/toy/fit.arrow": read_rows,
    "tokens/toy/counts.json": read_counts,
    "raw/toy/card.json": read_card,
    "encoder/fishpal.json": lambda path: load_pooling(path.parent),
    "trained/toy/lora/0/card.json": lambda path: load_card(path.parent),
    "metrics/toy/lora/0.json": read_metrics,
    "curves/toy/lora/0.csv": read_curve,
    "predictions/toy/lora/0.parquet": read_predictions,
    "../params.yaml": load_params,
}
FUZZ = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def read_spoilt(folder: Path, name: str, content: bytes) -> None:
    """The reader returns, or raises `FishpalError` with a message of one line."""
    path = folder / Path(name).name
    path.write_bytes(content)
    try:
        READERS[name](path)
    except FishpalError as error:
        assert str(error).isprintable() and len(str(error)) < 1000


@pytest.mark.parametrize("name", READERS)
@given(content=st.binary(max_size=200))
@FUZZ
def test_any_bytes(tmp_path: Path, name: str, content: bytes) -> None:
    read_spoilt(tmp_path, name, content)


@pytest.mark.parametrize("name", READERS)
@given(data=st.data())
@FUZZ
def test_bytes_changed_and_deleted(project: Path, tmp_path: Path, name: str, data: Any) -> None:
    content = bytearray((project / "artifacts" / name).read_bytes())
    place = st.integers(0, len(content) - 1)
    for at, value in data.draw(st.dictionaries(place, st.integers(0, 255), max_size=4)).items():
        content[at] = value
    start, size = data.draw(place), data.draw(st.sampled_from([0, 1, 4, 64, len(content)]))
    del content[start : start + size]
    read_spoilt(tmp_path, name, bytes(content))


@pytest.mark.parametrize("name", [name for name in READERS if name.endswith(".json")])
@given(data=st.data())
@FUZZ
def test_json_values_replaced(project: Path, tmp_path: Path, name: str, data: Any) -> None:
    content = json.loads((project / "artifacts" / name).read_text())
    inner = content
    *keys, last = data.draw(st.sampled_from(places(content)))
    for key in keys:
        inner = inner[key]
    huge = st.sampled_from([10**9, 10**18, -1, 10**400, 1e308, "\ud800", "\n"])
    inner[last] = data.draw(VALUES | huge)
    read_spoilt(tmp_path, name, json.dumps(content).encode())
