"""The study's store: what is missing, what a line is known by, what labels say."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest

from fishpal.common.errors import DataError
from fishpal.params.options import HeadOptions
from studies.criteria.design.names import label, store_path, word
from studies.criteria.report.warnings import warnings
from studies.criteria.trainings import keys
from studies.criteria.trainings.keys import given, key_of
from studies.criteria.trainings.store import (
    Wanted,
    gather,
    keep,
    missing,
    read_lines,
    read_predictions,
)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def wanted(*seeds, task="toy", **columns):
    return [
        Wanted({"task": task, "rule": "none", **columns, "seed": seed}, key_of([task, seed]))
        for seed in seeds
    ]


def fill(group, lines):
    for each in lines:
        keep(group, each, {"score": each.columns["seed"] / 10})
    gather({group: lines})


def test_a_killed_run_goes_on_where_it_was():
    lines = wanted(2, 1, 0)
    assert missing("plans", lines) == lines
    keep("plans", lines[1], {"score": 0.5})
    assert missing("plans", lines) == [lines[0], lines[2]]
    assert read_lines("plans") == []  # not before the stage is through
    for each in (lines[0], lines[2]):
        keep("plans", each, {"score": 0.5})
    gather({"plans": lines})
    assert [line["seed"] for line in read_lines("plans")] == [0, 1, 2]
    assert missing("plans", lines) == []
    assert not list(lines[0].working("plans").parent.iterdir())


def test_gathering_again_changes_no_byte_and_drops_what_is_not_asked_for():
    fill("plans", [*wanted(0, 1, task="b"), *wanted(0, 1, task="a")])
    before = store_path("plans").read_bytes()
    gather({"plans": [*wanted(1, 0, task="a"), *wanted(1, 0, task="b")]})
    assert store_path("plans").read_bytes() == before
    gather({"plans": wanted(1, task="b")})
    assert store_path("plans").read_bytes() == before.splitlines(keepends=True)[3]


def test_a_deleted_line_is_missing_and_so_is_one_of_another_key_or_column():
    lines = wanted(0, 1, size=100)
    fill("plans", lines)
    path = store_path("plans")
    rows = path.read_text().splitlines(keepends=True)
    path.write_text(rows[0])
    assert missing("plans", lines) == [lines[1]]
    path.write_text(rows[0] + rows[1].replace(lines[1].key, "0" * 64))
    assert missing("plans", lines) == [lines[1]]
    path.write_text(rows[0] + rows[1].replace('"size": 100', '"size": 500'))
    assert missing("plans", lines) == [lines[1]]


def test_predictions_lie_apart_and_a_line_without_them_is_missing():
    lines = wanted(0, 1)
    for each in lines:
        keep("plans", each, {"labels": "0110", "predictions": "0100"})
    gather({"plans": lines}, predicted=True)
    assert all("predictions" not in line for line in read_lines("plans"))
    assert read_predictions()[lines[0].key] == {"labels": "0110", "predictions": "0100"}
    assert missing("plans", lines, predicted=True) == []
    gather({"plans": lines[:1]}, predicted=True)
    assert set(read_predictions()) == {lines[0].key}
    fill("plans", lines)
    assert missing("plans", lines, predicted=True) == [lines[1]]


def test_a_line_that_is_no_json_is_named():
    store_path("plans").parent.mkdir()
    store_path("plans").write_text('{"task": "toy"}\n{"task":\n')
    with pytest.raises(DataError, match=r"results/plans\.jsonl: line 2 is not JSON"):
        read_lines("plans")


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"rule": "none"}, "head"),
        ({"rule": "uniform", "kind": "lora"}, "lora"),
        ({"rule": "lead", "name": "first"}, "first"),
        ({"rule": "mix", "drawn": "stratified", "draw": 3}, "stratified_03"),
        ({"rule": "random", "share": 0.1, "draw": 0}, "b10_random_0"),
        ({"rule": "small", "share": 0.25, "kind": "adapter"}, "b25_small_adapter"),
        ({"rule": "criterion", "share": 0.5, "top_layers": 3}, "b50_top"),
        ({"rule": "criterion"}, "free"),
    ],
)
def test_labels_are_made_from_columns(columns, expected):
    assert label(columns) == expected


def test_words():
    assert word(("prefix", None, "adapter", "lora")) == "P-AL"


def test_an_option_that_the_library_gains_changes_no_key(monkeypatch):
    @dataclass(frozen=True)
    class Options:
        rank: int = 8
        sites: list[str] = field(default_factory=lambda: ["query", "value"])

    monkeypatch.setitem(keys.FIRST, "Options", "rank")
    assert given(Options()) == {"rank": 8}
    assert given(Options(rank=2)) == {"rank": 2}
    assert json.dumps(given(Options(sites=["key"]))) == '{"rank": 8, "sites": ["key"]}'


def test_a_head_that_reads_pairs_as_the_first_lines_did_has_their_key():
    first = {"init": "random", "seed": 0}
    assert given(HeadOptions(pairs="joint")) == first
    assert given(HeadOptions(pairs="compare")) == first | {"pairs": "compare"}
    assert given(HeadOptions()) == first | {"pairs": "auto"}


def test_the_report_names_lines_of_unknown_code_and_criteria_without_scores():
    assert warnings([]) == "No line was made by other code than the present one."
    lines = wanted(0, 1)
    for each in lines:
        keep("plans", each, {"code": None})
    gather({"plans": lines})
    text = warnings(["newest"])
    assert "2 of the store's 2 lines were made before code" in text
    assert "`results/signals.jsonl` says nothing of `newest`" in text
