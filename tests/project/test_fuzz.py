"""Whatever stands in a file that is read: a value, or a `FishpalError` of one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fishpal.common.errors import FishpalError
from fishpal.encoders.pooling import EncoderCard
from fishpal.models.trained import TrainedCard
from fishpal.params.load import load_params
from fishpal.records.arrow import ArrowSplit
from fishpal.records.card import Card, Counts
from fishpal.records.facts import Limits, TaskFacts
from fishpal.records.fisher_table import FisherTable
from fishpal.records.grams import Grams
from fishpal.records.plan import Plan
from fishpal.records.results import CellMetrics, Curve, Predictions, Seconds
from fishpal.training.checkpoint import Checkpoint
from tests.conftest import VOCAB


def read_rows(path: Path) -> None:
    split = ArrowSplit(path).check(TaskFacts("toy", ("a", "b"), 0), Limits(VOCAB, 2, 40))
    list(split), split.lengths()


# artifact of the toy project, its reader
READERS: dict[str, Callable[[Path], Any]] = {
    "plans/toy/fishpal.json": Plan.load,
    "fisher/toy.json": FisherTable.load,
    "fisher/toy.safetensors": Grams.load,
    "tokens/toy/train/task.json": TaskFacts.load,
    "tokens/toy/train/fit.arrow": read_rows,
    "tokens/toy/counts.json": Counts.load,
    "raw/toy/card.json": Card.load,
    "encoder/fishpal.json": EncoderCard.load,
    "trained/toy/lora/0/card.json": TrainedCard.load,
    "metrics/toy/lora/0.json": CellMetrics.load,
    "curves/toy/lora/0.csv": Curve.load,
    "predictions/toy/lora/0.parquet": Predictions.load,
    "seconds/train/toy/lora/0.json": Seconds.load,
    "../params.yaml": load_params,
}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner,
                                                                max_size=3),
    max_leaves=6,
)  # fmt: skip
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
@given(content=st.binary(max_size=200) | VALUES.map(lambda v: json.dumps(v).encode()))
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


@given(content=st.binary(max_size=200) | VALUES.map(lambda v: json.dumps(v).encode()))
@FUZZ
def test_any_bytes_as_a_state_of_training(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.safetensors"
    path.write_bytes(content)
    with suppress(FishpalError):
        Checkpoint(path, "key").load()


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every key of nested JSON."""
    found = [path] if path else []
    if isinstance(value, dict):
        for key, inner in value.items():
            found += places(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            found += places(inner, (*path, number))
    return found


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
