"""What lines are made from: the encoder and the tokenised tasks, made here where they are missing.

They are no outputs of the study's DVC stages: a clone that holds all lines needs neither them nor
the rows behind them.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from fishpal.common.errors import DataError
from fishpal.common.files import read_json, write_json
from fishpal.encoders.encoder import Encoder, load_encoder
from fishpal.modules.attach import build_module
from fishpal.params.load import Params, load_params
from fishpal.records.arrow import ArrowSplit
from fishpal.records.examples import Example
from fishpal.records.task import TokenisedTask
from stages.runner import ARTIFACTS
from studies.criteria.design.placements import Costs
from studies.criteria.design.plans import KINDS
from studies.criteria.trainings.provenance import code_hash

ROOT = Path(__file__).resolve().parents[3]
ROOMS = ("common", "encoders", "params", "records", "sources", "tasks", "tokens")
STAGES = ("prepare_encoder", "download_task", "tokenize_task")
DATA = Path("data")


def prepare(params: Params, tasks: Iterable[str]) -> None:
    """Make the encoder and the tasks' tokens, unless they came of these params, code and rows.

    Raises:
        DataError: with what the pipeline's stage says, such as that there are no rows.
    """
    encoder = {"encoder": asdict(params.encoder), "code": _code()}
    _made("encoder", encoder, ["prepare_encoder"])
    for task in dict.fromkeys(tasks):
        entry = asdict(params.task(task))
        rows = sorted((str(p), p.stat().st_size, p.stat().st_mtime) for p in DATA.rglob("*.*"))
        parts = [encoder, entry, asdict(params.tokenize), rows]
        _made(task, parts, ["download_task", task], ["tokenize_task", task])


def _made(name: str, parts: object, *stages: list[str]) -> None:
    """Run the pipeline's stages unless they ran with these parts before."""
    path = ARTIFACTS.root / "prepared" / f"{name}.json"
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    if path.is_file() and read_json(path) == key:
        return
    path.unlink(missing_ok=True)
    for stage, *arguments in stages:
        command = [sys.executable, "-m", f"stages.{stage}", *arguments]
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=env, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise DataError(f"{said.removeprefix('error: ')}; without it no line can be made")
    write_json(path, key)


@cache
def _code() -> str:
    paths = [ROOT / "fishpal" / room for room in ROOMS]
    return code_hash([*paths, *(ROOT / "stages" / f"{stage}.py" for stage in STAGES)])


def fresh_encoder() -> Encoder:
    """The study's encoder, read from its folder."""
    return load_encoder(ARTIFACTS.encoder)


study_encoder = cache(fresh_encoder)
"""The same, read once a process."""
study_params = cache(load_params)
"""The study's params, read once a process."""


def module_costs() -> Costs:
    """Parameters that one module of each kind keeps."""
    shape, options = study_encoder().shapes[0], study_params().modules
    return {kind: build_module(kind, 0, shape, options, 0).kept_parameters for kind in KINDS}


@dataclass(frozen=True)
class Data:
    """A task's parts, as lists, and their hash."""

    task: TokenisedTask
    evaluation: list[Example]
    sha256: str

    @property
    def labels(self) -> list[int | float]:
        """Of the evaluation split."""
        return [example.label for example in self.evaluation]


@cache
def load_data(name: str, size: int) -> Data:
    """The first `size` fit examples, the selection part and the evaluation split of a task.

    The evaluation split is `test` where the task has one.

    Raises:
        DataError: where the fit part is smaller than `size`.
    """
    tokens, limits = ARTIFACTS.tokens(name), study_encoder().limits
    whole = TokenisedTask.load(tokens, limits)
    if len(whole.fit) < size:
        allowed = f"up to {len(whole.fit)}"
        raise DataError(f"{name}: study.sizes asks for {size} examples; allowed: {allowed}")
    task = TokenisedTask(whole.facts, list(whole.fit[:size]), list(whole.selection))
    splits = {path.stem: path for path in sorted((tokens / "evaluation").glob("*.arrow"))}
    chosen = splits.get("test") or next(iter(splits.values()))
    evaluation = list(ArrowSplit(chosen).check(task.facts, limits))
    parts = (task.fit, task.selection, evaluation)
    text = json.dumps([[_columns(example) for example in part] for part in parts])
    return Data(task, evaluation, hashlib.sha256(text.encode()).hexdigest())


def _columns(example: Example) -> dict[str, object]:
    """What keys are made of; named one by one, so that a new field changes no key."""
    names = ("input_ids", "label", "token_type_ids")
    return {name: getattr(example, name) for name in names}


def pack(classes: Iterable[int | float]) -> str:
    """Class numbers as one string, a digit each.

    Raises:
        DataError: for other than the integers 0 to 9.
    """
    digits = [str(value) for value in classes]
    if not all(len(digit) == 1 and digit.isdecimal() for digit in digits):
        raise DataError("the study compares classes; allowed: tasks of 2 to 10 labels")
    return "".join(digits)
