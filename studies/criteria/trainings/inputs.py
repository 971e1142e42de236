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

import torch

from fishpal.common.errors import DataError
from fishpal.common.files import read_json, write_json
from fishpal.encoders.encoder import facts_of, fingerprint, load_encoder
from fishpal.encoders.pooling import Pooling, load_pooling
from fishpal.modules.attach import build_module
from fishpal.params.load import Params, load_params
from fishpal.records.examples import ArrowSplit, Example, TaskFacts
from fishpal.records.facts import EncoderFacts
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
    path = ARTIFACTS / "prepared" / f"{name}.json"
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


@dataclass(frozen=True)
class Encoder:
    """A loaded encoder and what belongs to it."""

    model: torch.nn.Module
    pooling: Pooling
    facts: EncoderFacts
    sha256: str


def fresh_encoder() -> Encoder:
    """The study's encoder, read from its folder."""
    model = load_encoder(ARTIFACTS / "encoder")
    pooling = load_pooling(ARTIFACTS / "encoder")
    return Encoder(model, pooling, facts_of(model), fingerprint(model))


study_encoder = cache(fresh_encoder)
"""The same, read once a process."""
study_params = cache(load_params)
"""The study's params, read once a process."""


def module_costs() -> Costs:
    """Parameters that one module of each kind keeps."""
    hidden, options = study_encoder().facts.hidden, study_params().modules
    return {kind: build_module(kind, 0, hidden, options, 0).kept_parameters for kind in KINDS}


@dataclass(frozen=True)
class Data:
    """A task's parts, as lists, and their hash."""

    facts: TaskFacts
    fit: list[Example]
    selection: list[Example]
    evaluation: list[Example]
    sha256: str

    @property
    def labels(self) -> list[int | float]:
        """Of the evaluation split."""
        return [example.label for example in self.evaluation]


@cache
def load_data(task: str, size: int) -> Data:
    """The first `size` fit examples, the selection part and the evaluation split of a task.

    The evaluation split is `test` where the task has one.

    Raises:
        DataError: where the fit part is smaller than `size`.
    """
    tokens = ARTIFACTS / "tokens" / task
    fit = ArrowSplit(tokens / "fit.arrow")
    if len(fit) < size:
        raise DataError(f"{task}: study.sizes asks for {size} examples; allowed: to {len(fit)}")
    splits = {path.stem: path for path in sorted((tokens / "evaluation").glob("*.arrow"))}
    evaluation = splits.get("test") or next(iter(splits.values()))
    parts = [
        fit[:size],
        list(ArrowSplit(tokens / "selection.arrow")),
        list(ArrowSplit(evaluation)),
    ]
    text = json.dumps([[_columns(example) for example in part] for part in parts])
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    return Data(TaskFacts.load(tokens / "task.json"), parts[0], parts[1], parts[2], sha256)


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
