"""Raw tables → clean splits: cells, labels, cuts, counts and bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fishpal.common.errors import DataError
from fishpal.params.catalog import Split
from fishpal.records.card import Card, SplitCard
from fishpal.tasks.clean import build_splits, write_task
from tests.tasks.data_helpers import table, task

TEST = table(text=["t1", "t2"], label=["no", "yes"])


def build(train: pd.DataFrame, test: pd.DataFrame = TEST, **options: Any) -> Any:
    return build_splits(task(**options), {"train": train, "test": test}, "demo")


def test_labels_become_class_indices_in_the_order_of_the_list() -> None:
    built = build(table(text=["a", "b", "c"], label=["yes", "no", "yes"]), labels=("no", "yes"))
    assert built.splits["train"]["label"].tolist() == [1, 0, 1]
    assert built.splits["train"]["label"].dtype == "int64"
    numbers = table(text=["a", "b"], label=[1, "0"])
    built = build(numbers, numbers, labels=(1, 0))
    assert built.splits["train"]["label"].tolist() == [0, 1]


def test_pairs_and_regression() -> None:
    train = table(a=["x", "y"], b=["p", 7], label=["0.5", 2])
    built = build(train, train, labels=None, text=("b", "a"))
    frame = built.splits["train"]
    assert list(frame.columns) == ["text", "text_pair", "label"]
    assert frame.to_numpy().tolist() == [["p", "x", 0.5], ["7", "y", 2.0]]
    assert frame["label"].dtype == "float64"
    assert built.card.splits["train"] == SplitCard(2)


def test_dropped_rows_are_not_checked_but_counted() -> None:
    train = table(text=["a", None, "b", "a", "a"], label=["no", "plot", "yes", "no", "yes"])
    built = build(train, drop_labels=("plot",), drop_duplicates=True)
    assert built.splits["train"]["text"].tolist() == ["a", "b"]
    assert built.card.dropped == {"labels": 1, "duplicates": 2}
    assert built.card.conflicts == 1


def test_overlap_counts_distinct_texts() -> None:
    train = table(text=["a", "a", "b", "c"], label=["no", "no", "yes", "yes"])
    test = table(text=["a", "c", "c", "d"], label=["no", "yes", "yes", "no"])
    card = build(train, test).card
    assert card.overlap == {"train/test": 2} and card.conflicts == 0
    assert card.splits["test"] == SplitCard(4, {"no": 2, "yes": 2})


def test_texts_that_differ_in_spaces_or_unicode_form_are_one() -> None:
    """Nearly every tokenizer reads them alike: they leak, and are duplicates."""
    train = table(text=["a b", "caf\u00e9", "c"], label=["no", "yes", "yes"])
    test = table(text=[" a  b\n", "cafe\u0301", "A b", "d"], label=["no", "yes", "yes", "no"])
    assert build(train, test).card.overlap == {"train/test": 2}
    twice = table(text=["a b", "a  b", "A b", "c", "c "], label=["no", "yes", "no", "yes", "yes"])
    card = build(twice, drop_duplicates=True).card
    assert card.dropped["duplicates"] == 2 and card.conflicts == 1


def test_rows_without_a_label_can_be_dropped() -> None:
    for missing in (None, float("nan"), pd.NA):
        rows = table(text=["a", "b", "c", "d"], label=["no", missing, "yes", "None"])
        with pytest.raises(DataError, match=r"row 2 is no label \(null\)"):
            build(rows, drop_labels=("None",))
        built = build(rows, drop_labels=(None, "None"))
        assert built.splits["train"]["text"].tolist() == ["a", "c"]
    numbers = table(text=["a", "b", "c"], label=[0.5, float("nan"), 2.0])
    built = build(numbers, numbers, labels=None, drop_labels=(None,))
    assert built.splits["train"]["label"].tolist() == [0.5, 2.0]


OK = ["no", "yes"]
BAD: list[tuple[dict[str, list[Any]], dict[str, Any], str]] = [
    ({"text": ["a", None], "label": OK}, {}, "column 'text' row 2 is no text (null)"),
    ({"text": [float("nan"), None], "label": OK}, {}, "row 1 and 1 more rows is no text (null)"),
    ({"text": ["a", " "], "label": OK}, {}, "demo/train: column 'text' row 2 is empty text"),
    ({"text": ["a", 1.5], "label": OK}, {}, "row 2 is float 1.5; allowed: text or a whole number"),
    ({"text": ["a", True], "label": OK}, {}, "row 2 is bool True"),
    ({"text": ["a", ["b"]], "label": OK}, {}, "row 2 is list ['b']"),
    ({"text": ["a", "\ud800"], "label": OK}, {}, r"row 2 is text with '\ud800' (NUL or a lone"),
    ({"text": ["a", "b\0"], "label": OK}, {}, r"'text' row 2 is text with '\x00' (NUL or a lone"),
    ({"txt": ["a", "b"], "label": OK}, {}, "no column 'text' (did you mean 'txt'?); allowed"),
    ({"text": ["a", "b"], "label": ["no", "yse"]}, {}, "row 2 is 'yse'; allowed: no, yes"),
    ({"text": ["a", "b"], "label": ["no", None]}, {}, "'label' row 2 is no label (null); allowed"),
    (
        {"text": ["a", "b", "c", "d"], "label": [None, float("nan"), pd.NA, pd.NaT]},
        {"labels": ("None", "nan", "<NA>", "NaT")},
        "'label' row 1 and 3 more rows is no label (null)",
    ),
    ({"text": ["a", "b"], "label": ["no", [1]]}, {"labels": ("[1]", "no")}, "row 2 is '[1]'"),
    ({"text": ["a"], "label": [np.array([0, 1])]}, {"labels": ("[0 1]", "no")}, "1 is '[0 1]'"),
    ({"text": ["a", "b"], "label": ["yes", "yes"]}, {}, "demo/train: every label is yes; allowed"),
    ({"text": ["a", "b"], "label": ["x", "x"]}, {"drop_labels": ("x",)}, "train: holds no rows"),
    ({"text": ["a", "b"], "label": [1, "x"]}, {"labels": None}, "row 2 is 'x'; allowed: finite"),
    ({"text": ["a", "b"], "label": [1, "inf"]}, {"labels": None}, "row 2 is 'inf'"),
    ({"text": ["a", "b"], "label": [1, 10**400]}, {"labels": None}, "row 2 is '1000"),
    ({"text": ["a", "b"], "label": [1, True]}, {"labels": None}, "row 2 is 'True'"),
    ({"text": ["a", "b"], "label": [1, np.True_]}, {"labels": None}, "row 2 is 'True'"),
    ({"text": ["a", "b"], "label": ["1.0", 0.5]}, {"labels": (0, 1)}, "row 2 is '0.5'; allowed"),
    (
        {"text": ["a", "b"], "label": ["1.0", 0.0]},
        {"labels": (0, "1.0")},
        "row 2 is '0.0'; allowed",
    ),
]


LOOKALIKES = [
    ("caf\u00e9", "cafe\u0301", r"('cafe\u0301', which differs from 'caf\xe9' in Unicode form"),
    ("cafe\u0301", "caf\u00e9", r"('caf\xe9', which differs from 'cafe\u0301' in Unicode form"),
    ("good", "Good ", "('Good ', which differs from 'good' in case, spaces or width alone)"),
    ("no", "n\u00f6", "is 'n\u00f6'; allowed: no, other (labels, drop_labels)"),
]


@pytest.mark.parametrize(("label", "raw", "expected"), LOOKALIKES)
def test_a_label_that_looks_like_another_is_told_from_it(
    label: str, raw: str, expected: str
) -> None:
    with pytest.raises(DataError) as caught:
        build(table(text=["a", "b"], label=["other", raw]), labels=(label, "other"))
    assert expected in str(caught.value)


def test_floats_that_pandas_makes_of_whole_labels() -> None:
    """A column of 0, 1 and a hole becomes 0.0, 1.0 and NaN, in a CSV too."""
    rows = table(text=["a", "b", "c", "d"], label=[0.0, "1.0", -1.0, "-1.00"])
    built = build(rows, rows, labels=(1, 0), drop_labels=(-1,))
    assert built.splits["train"]["label"].tolist() == [1, 0]
    assert built.card.dropped["labels"] == 4
    built = build(rows, rows, labels=None, drop_labels=(-1,))  # -1 as a target would be wrong
    assert built.splits["train"]["label"].tolist() == [0.0, 1.0]
    exact = table(text=["a", "b"], label=["0.0", 1.0])
    built = build(exact, exact, labels=("0.0", "1.0"))
    assert built.splits["train"]["label"].tolist() == [0, 1]


def test_a_frame_with_numbers_for_names() -> None:
    frame = table(text=["a", "b"], label=OK).rename(columns={"text": 3})
    built = build(frame, frame, text=("3",))
    assert built.splits["train"]["text"].tolist() == ["a", "b"]


@pytest.mark.parametrize(("columns", "options", "expected"), BAD, ids=[row[2] for row in BAD])
def test_bad_rows_are_named(
    columns: dict[str, list[Any]], options: dict[str, Any], expected: str
) -> None:
    with pytest.raises(DataError) as caught:
        build(table(**columns), **options)
    assert expected in str(caught.value) and str(caught.value).isprintable()


def test_row_numbers_survive_drops() -> None:
    train = table(text=["a", "b", ""], label=["plot", "no", "yes"])
    with pytest.raises(DataError, match="row 3 is empty text"):
        build(train, drop_labels=("plot",))


def grouped(rows: int = 300) -> pd.DataFrame:
    groups = [f"g{(number * 7) % 40}" for number in range(rows)]
    texts = [f"t{number}" for number in range(rows)]
    return table(text=texts, label=["no", "yes"] * (rows // 2), group=groups)


def cut(frame: pd.DataFrame, seed: int = 0, by: str | None = "group") -> Any:
    shares = {"train": 0.7, "validation": 0.1, "test": 0.2}
    split = Split(shares=shares, by=by, seed=seed)
    return build_splits(task(split=split), {"train": frame}, "demo").splits


@pytest.mark.parametrize("by", ["group", None])
def test_cut_by_group(by: str | None) -> None:
    frame = grouped()
    splits = cut(frame, by=by)
    group = dict(zip(frame["text"], frame["group"], strict=True))
    owners = {name: {group[text] for text in part["text"]} for name, part in splits.items()}
    together = not (owners["train"] & owners["test"] or owners["train"] & owners["validation"])
    assert together == (by == "group")
    assert sorted(t for part in splits.values() for t in part["text"]) == sorted(frame["text"])
    sizes = [len(part) for part in splits.values()]
    largest = 8 if by else 1  # the largest group is how far a cut can miss its aim
    assert abs(sizes[0] - 210) <= largest and abs(sizes[0] + sizes[1] - 240) <= largest


def test_train_keeps_the_groups_that_selection_is_cut_by() -> None:
    assert cut(grouped())["train"]["group"].tolist() == [
        f"g{int(text[1:]) * 7 % 40}" for text in cut(grouped())["train"]["text"]
    ]
    assert "group" not in cut(grouped())["test"] and "group" not in cut(grouped(), by=None)["train"]
    split = Split(shares={"train": 0.7, "test": 0.3}, by="group", selection=False)
    apart = build_splits(task(split=split), {"train": grouped()}, "demo").splits
    assert list(apart["train"].columns) == ["text", "label"]


def test_cut_depends_on_the_seed_alone() -> None:
    one, same, other = cut(grouped()), cut(grouped()), cut(grouped(), seed=1)
    assert one["test"].equals(same["test"]) and not one["test"].equals(other["test"])
    texts = one["train"]["text"].tolist()
    assert texts == sorted(texts, key=lambda text: int(text[1:]))  # the file's order stays


def test_cut_without_a_group_value_or_with_too_few_groups() -> None:
    frame = grouped()
    frame.loc[4, "group"] = None
    with pytest.raises(DataError, match="demo/train: column 'group' row 5 is no text"):
        cut(frame)
    frame["group"] = "one"
    with pytest.raises(DataError, match="demo/validation: holds no rows"):
        cut(frame)


def test_files_are_the_same_bytes_and_the_card_reads_back(tmp_path: Path) -> None:
    built = build(table(text=["a", "é"], label=OK), licence="MIT")
    write_task(built, tmp_path / "one")
    (tmp_path / "two").mkdir()
    (tmp_path / "two/stale").touch()
    write_task(built, tmp_path / "two")
    files = sorted(path.name for path in (tmp_path / "two").iterdir())
    assert files == ["card.json", "test.parquet", "train.parquet"]
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    card = Card.load(tmp_path / "one/card.json")
    assert card.splits["train"].labels == {"no": 1, "yes": 1} and card.labels == ("no", "yes")
    source = json.loads((tmp_path / "one/card.json").read_text())["source"]
    files_of = {"train": "a.csv", "test": "b.csv"}
    assert source == {"type": "files", "files": files_of, "licence": "MIT"}
    assert pd.read_parquet(tmp_path / "one/train.parquet")["text"].tolist() == ["a", "é"]
