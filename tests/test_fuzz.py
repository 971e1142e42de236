"""Whatever stands in a plan, table, card, curve or kernel file: a value or a `FishpalError`."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fishpal.artifacts import (
    read_card,
    read_counts,
    read_curve,
    read_metrics,
    read_predictions,
    read_seconds,
)
from fishpal.checkpoints import load_card
from fishpal.errors import FishpalError
from fishpal.grams import Grams
from fishpal.plan import Plan
from fishpal.resume import Checkpoint
from fishpal.table import FisherTable
from fishpal.tokens import TaskFacts

READERS: dict[str, Callable[[Path], Any]] = {
    "plan": Plan.load,
    "table": FisherTable.load,
    "facts": TaskFacts.load,
    "kernels": Grams.load,
    "card": read_card,
    "counts": read_counts,
    "metrics": read_metrics,
    "seconds": read_seconds,
    "curve": read_curve,
    "predictions": read_predictions,
    "trained": lambda path: load_card(path.parent),
    "state": lambda path: Checkpoint(path, "key").load(),
}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner,
                                                                max_size=3),
    max_leaves=6,
)  # fmt: skip
QUICK = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.mark.parametrize("name", READERS)
@given(content=st.binary(max_size=200) | VALUES.map(lambda v: json.dumps(v).encode()))
@QUICK
def test_any_bytes(tmp_path, name, content):
    path = tmp_path / "card.json"
    path.write_bytes(content)
    with suppress(FishpalError):
        READERS[name](path)


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


FILES = {
    "plan": "plans/movies/lora.json",
    "card": "raw/movies/card.json",
    "counts": "tokens/movies/counts.json",
    "metrics": "metrics/movies/lora/0.json",
}


@pytest.mark.parametrize("name", FILES)
@given(data=st.data())
@QUICK
def test_any_value_at_any_key(report_template, tmp_path, name, data):
    _, root = report_template
    source = next(iter(sorted(root.glob(FILES[name].replace("movies", "*")))))
    content = json.loads(source.read_text())
    keys = data.draw(st.sampled_from(places(content)))
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = data.draw(VALUES)
    path = tmp_path / "file.json"
    path.write_text(json.dumps(content))
    with suppress(FishpalError):
        READERS[name](path)


@pytest.mark.parametrize("name", [*FILES, "curve", "predictions"])
@given(data=st.data())
@QUICK
def test_any_bit_flipped_or_cut(report_template, tmp_path, name, data):
    _, root = report_template
    pattern = {"curve": "curves/*/lora/0.csv", "predictions": "predictions/*/lora/0.parquet"}
    glob = pattern.get(name) or FILES[name].replace("movies", "*")
    content = bytearray(next(iter(sorted(root.glob(glob)))).read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content[place:]
    path = tmp_path / "file"
    path.write_bytes(content)
    with suppress(FishpalError):
        READERS[name](path)
