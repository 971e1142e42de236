"""Splitting train and tokenising: disjoint, nested, stratified, counted, the same bytes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from transformers import BertConfig

from benchmarks.toy.encoder import SPECIAL, VOCAB, WORDS
from fishpal.common.errors import DataError, ParamsError
from fishpal.params.catalog import Columns, Sizes
from fishpal.params.sections import Tokenize
from fishpal.records.arrow import ArrowSplit
from fishpal.records.facts import TaskFacts
from fishpal.records.paths import FIT, SELECTION, TASK
from fishpal.tasks.clean import build_splits, write_task
from fishpal.tokens.splitting import Parts, cut_evaluation, split_train, stratified_order
from fishpal.tokens.tokenization import BATCH, tokenize_task
from tests.tasks.data_helpers import save_tokenizer, table, task

LABELS = np.array([0] * 600 + [1] * 300 + [2] * 100)
TEXTS = [f"t{row}" for row in range(1000)]
SIZES = Sizes(fit=None, selection=0.2, evaluation=None)


def parts_of(sizes: Sizes = SIZES, seed: int = 0, texts: list[str] = TEXTS) -> Parts:
    return split_train(LABELS, texts, sizes, seed, "demo")


def test_parts_are_disjoint_whole_and_stratified() -> None:
    parts = parts_of()
    assert sorted([*parts.fit, *parts.selection]) == list(range(1000))
    assert np.bincount(LABELS[parts.selection]).tolist() == [120, 60, 20]
    for size in (10, 50, 333):
        shares = np.bincount(LABELS[parts.fit[:size]], minlength=3)
        assert np.abs(shares - size * np.array([0.6, 0.3, 0.1])).max() <= 2


def test_fit_parts_are_nested_and_leave_selection_alone() -> None:
    small, large = parts_of(replace(SIZES, fit=100)), parts_of(replace(SIZES, fit=500))
    assert len(small.fit) == 100 and small.fit.tolist() == large.fit[:100].tolist()
    assert small.selection.tolist() == large.selection.tolist() == parts_of().selection.tolist()


def test_seed_decides() -> None:
    assert parts_of().fit.tolist() == parts_of().fit.tolist()
    assert set(parts_of().selection) != set(parts_of(seed=1).selection)


def test_selection_of_a_regression_has_two_labels() -> None:
    """Else every model is calibrated into one constant, which has no correlation."""
    labels = np.array([0.0] * 97 + [1.0, 2.0, 3.0])
    for seed in range(6):
        parts = split_train(labels, TEXTS[:100], Sizes(None, 5, None), seed, "demo")
        assert len(set(labels[parts.selection])) > 1 and len(parts.selection) == 5


def test_order_of_a_regression_is_shuffled() -> None:
    order = stratified_order(np.linspace(0, 1, 50), 3)
    assert sorted(order) == list(range(50)) and order.tolist() != list(range(50))


def test_texts_of_selection_leave_fit() -> None:
    texts = [f"t{row % 500}" for row in range(1000)]  # every text twice
    parts = parts_of(texts=texts)
    fit, selection = ({texts[row] for row in rows} for rows in (parts.fit, parts.selection))
    assert not fit & selection
    assert parts.duplicates == 1000 - len(parts.fit) - len(parts.selection) > 0
    few = parts_of(replace(SIZES, fit=10), texts=texts)
    assert few.selection.tolist() == parts.selection.tolist()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("texts", [1, 2, 5])
def test_few_texts_that_stand_in_train_often_stay_in_fit(texts: int, seed: int) -> None:
    """As after oversampling a rare class: rows drawn one by one would take all of its texts."""
    labels = np.array([0] * 100 + [2] * 100 + [1] * 100)
    names = [*TEXTS[:200], *(f"rare {row % texts}" for row in range(100))]
    parts = split_train(labels, names, Sizes(None, 30, None), seed, "demo")
    rows = (parts.fit, parts.selection)
    rare = [{names[row] for row in part if labels[row] == 1} for part in rows]
    assert len(rare[0]) == max(1, texts - 1) and len(rare[1]) == min(1, texts - 1)
    assert len(parts.selection) == 30
    assert np.bincount(labels[parts.selection], minlength=2)[1] == (10 if texts > 1 else 0)
    assert parts.duplicates == (100 // texts - 10 if texts > 1 else 0)


@pytest.mark.parametrize("regression", [False, True])
def test_texts_that_stand_in_train_twice_are_drawn_row_by_row(regression: bool) -> None:
    labels = np.linspace(0, 1, 1000) if regression else LABELS
    texts = [f"t{row % 500}" for row in range(1000)]
    twice, once = (split_train(labels, t, SIZES, 0, "demo").selection for t in (texts, TEXTS))
    assert twice.tolist() == once.tolist()


def grouped(groups: list[str], sizes: Sizes = SIZES, seed: int = 0) -> Parts:
    return split_train(LABELS, TEXTS, sizes, seed, "demo", groups)


@pytest.mark.parametrize("many", [3, 40, 333, 1000])
def test_no_group_stands_in_both_parts(many: int) -> None:
    groups = [f"g{row * row % many}" for row in range(1000)]  # of unequal sizes
    parts = grouped(groups)
    fit, selection = ({groups[row] for row in rows} for rows in (parts.fit, parts.selection))
    assert not fit & selection and len(parts.selection) == 200
    assert len({*parts.fit, *parts.selection}) == len(parts.fit) + 200
    assert parts.duplicates == 800 - len(parts.fit)
    # No more is lost than rows of one group, which is cut.
    left = {groups[row] for row in range(1000)} - fit - selection
    assert not left and parts.duplicates < max(groups.count(each) for each in selection)
    few = grouped(groups, replace(SIZES, fit=10))
    assert few.selection.tolist() == parts.selection.tolist()
    assert few.fit.tolist() == parts.fit[:10].tolist()
    assert grouped(groups, seed=1).selection.tolist() != parts.selection.tolist()


def test_groups_that_fill_selection_lose_no_row() -> None:
    groups = [f"g{row // 4}" for row in range(1000)]
    parts = grouped(groups)
    assert parts.duplicates == 0 and len(parts.fit) == 800
    shares = np.bincount(LABELS[parts.fit[:400]]) / 400
    assert shares == pytest.approx(np.bincount(LABELS[parts.fit]) / 800, abs=0.02)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("groups", "rows"), [(10, 20), (40, 5), (2, 100), (50, 20)])
@pytest.mark.parametrize("regression", [False, True])
def test_groups_of_one_label_each_leave_both_parts_two(groups, rows, regression, seed):
    """As patients with one diagnosis each have."""
    whose = np.repeat(np.arange(groups), rows)
    labels = whose % 2 if not regression else (whose % 7).astype(np.float64)
    texts, names = [f"t{row}" for row in range(len(whose))], [f"g{each}" for each in whose]
    sizes = Sizes(fit=None, selection=0.1)
    if groups == 2:  # one for either part leaves one label alone, whatever is done
        with pytest.raises(DataError, match=r"selection is 20 rows, which takes every group"):
            split_train(labels, texts, sizes, seed, "demo", names)
        return
    parts = split_train(labels, texts, sizes, seed, "demo", names)
    assert not set(whose[parts.fit]) & set(whose[parts.selection])
    assert len(parts.selection) == len(whose) // 10
    for part in (parts.fit, parts.selection):
        low = labels[part] <= np.median(labels)
        assert 0.2 < low.mean() < 0.8
    assert parts.duplicates <= 2 * rows


def test_a_group_larger_than_selection_goes_to_fit_where_another_one_does() -> None:
    groups = ["huge"] * 700 + [f"g{row}" for row in range(300)]
    parts = grouped(groups)
    assert "huge" not in {groups[row] for row in parts.selection} and parts.duplicates == 0
    with pytest.raises(DataError, match=r"demo: sizes.selection is 200 rows, which takes every gr"):
        grouped(["one"] * 1000)


@pytest.mark.parametrize("seed", range(20))
def test_selection_has_two_labels_where_train_has(seed):
    """Of the group that brings the second one, its only such row could be cut away."""
    counts = [(5, 0)] * 30 + [(99, 1), (0, 200)]
    labels = np.concatenate([[0] * a + [1] * b for a, b in counts])
    names = [f"g{group}" for group, each in enumerate(counts) for _ in range(sum(each))]
    texts = [f"t{row}" for row in range(len(labels))]
    parts = split_train(labels, texts, Sizes(selection=20), seed, "demo", names)
    assert len(parts.selection) == 20 and set(labels[parts.selection]) == {0, 1}
    rare = np.array([0] * 90 + [1] * 10)  # of which the first is no earlier than the fifth
    alone = split_train(rare, texts[:100], Sizes(selection=4), seed, "demo")
    assert sorted(rare[alone.selection]) == [0, 0, 0, 1]
    assert sorted([*alone.selection, *alone.fit]) == list(range(100))


@pytest.mark.parametrize(("rows", "warnings"), [(19, 1), (20, 0)])
def test_few_rows_of_selection_are_warned_about(recwarn, rows, warnings):
    split_train(LABELS, TEXTS, Sizes(selection=rows), 0, "demo")
    said = [str(each.message) for each in recwarn]
    assert len(said) == warnings and all("demo: selection has 19 rows: " in each for each in said)


@pytest.mark.parametrize("seed", range(20))
def test_a_group_nearly_as_large_as_selection_does_not_fill_it(seed):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([rng.choice(3, 800, p=[0.3, 0.3, 0.4]), rng.choice(2, 140) + 1])
    names = [f"g{row // 20}" for row in range(800)] + ["large"] * 140
    texts = [f"t{row}" for row in range(len(labels))]
    parts = split_train(labels, texts, Sizes(selection=141), seed, "demo", names)
    assert not any(names[row] == "large" for row in parts.selection)
    shares = np.bincount(labels[parts.selection], minlength=3) / 141
    assert np.abs(shares - np.bincount(labels) / len(labels)).max() < 0.15


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        (Sizes(selection=1000), "sizes.selection is 1000; allowed: 2 to 998 rows, as train has 10"),
        (Sizes(selection=0.001), "sizes.selection is 0.001 (1 rows); allowed: 2 to 998 rows"),
        (Sizes(fit=900, selection=200), "demo: sizes.fit is 900; allowed: 2 to 800 (train's 1000"),
    ],
)
def test_too_large_request_names_both_numbers(sizes: Sizes, expected: str) -> None:
    with pytest.raises(DataError) as caught:
        parts_of(sizes)
    assert expected in str(caught.value)


def test_one_class_fit_part() -> None:
    labels = np.array([0] * 99 + [1])
    with pytest.raises(DataError, match="demo: sizes.fit is 10, all with one label"):
        split_train(labels, TEXTS[:100], Sizes(fit=10, selection=10), 0, "demo")


def test_evaluation_is_cut_to_size() -> None:
    assert (
        cut_evaluation(5, None, 0).tolist() == cut_evaluation(5, 9, 0).tolist() == [0, 1, 2, 3, 4]
    )
    cut = cut_evaluation(100, 10, 0).tolist()
    assert len(set(cut)) == 10 and cut == sorted(cut) == cut_evaluation(100, 10, 0).tolist()


def test_an_evaluation_part_of_one_label_is_refused(encoder: Path, tmp_path: Path) -> None:
    path = write_raw(raw := tmp_path / "raw", regression=True) / "test.parquet"
    labels = np.isin(np.arange(20), cut_evaluation(20, 2, 0)).astype(float)
    pd.read_parquet(path).assign(label=labels).to_parquet(path)
    sizes = replace(SIZES, evaluation=2)
    with pytest.raises(DataError, match=r"sizes.evaluation is 2, in test all with one label"):
        run(raw, encoder, tmp_path / "out", sizes)
    assert not (tmp_path / "out").exists()


def test_texts_of_one_reading_are_never_in_both_parts(encoder: Path, tmp_path: Path) -> None:
    """One more space hides no copy."""
    path = write_raw(raw := tmp_path / "raw") / "train.parquet"
    rows = pd.read_parquet(path)
    copies = rows.assign(text=[f"{text} " if row % 2 else f" {text}" for row, text in
                               enumerate(rows["text"])])  # fmt: skip
    pd.concat([rows, copies]).to_parquet(path)
    run(raw, encoder, tmp_path / "out", replace(SIZES, selection=0.2))
    fit, selection = (
        {tuple(each.input_ids) for each in ArrowSplit(tmp_path / "out" / name)}
        for name in (FIT, SELECTION)
    )
    assert selection and fit and not fit & selection


def test_texts_that_are_nothing_to_the_tokenizer_are_counted(encoder: Path, tmp_path: Path) -> None:
    path = write_raw(raw := tmp_path / "raw") / "test.parquet"
    rows = pd.read_parquet(path)
    rows.loc[:1, "text"] = ["\u200b", "unheard of"]
    rows.to_parquet(path)
    run(raw, encoder, tmp_path / "out")
    counts = json.loads((tmp_path / "out" / "counts.json").read_text())
    assert counts["test"]["unread"] == 2 and "unread" not in counts["fit"]


def ids(text: str) -> list[int]:
    return [len(SPECIAL) + WORDS.index(word) for word in text.split()]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tokenizer(tmp_path_factory.mktemp("encoder"))


def text_of(number: int) -> str:
    """A text of its own for every number below 9,000, 1 to 6 words long."""
    digits = [WORDS[int(digit)] for digit in str(number)]
    return " ".join(digits + [WORDS[10 + number % 20]] * (number % 3))


def write_raw(folder: Path, rows: int = 60, pair: bool = False, regression: bool = False) -> Path:
    """Raw splits train (rows) and test (20)."""
    frames = {}
    for split, numbers in (("train", range(rows)), ("test", range(8000, 8020))):
        columns = {"text": [text_of(n) for n in numbers]}
        if pair:
            columns["other"] = ["w29 " * 9 for n in numbers]
        labels = [n / 4 for n in numbers] if regression else [("no", "yes")[n % 2] for n in numbers]
        frames[split] = table(**columns, label=labels)
    names = ("text", "other") if pair else ("text",)
    wanted = task(None if regression else ("no", "yes"), names)
    write_task(build_splits(wanted, frames, "demo"), folder)
    return folder


def run(raw: Path, encoder: Path, target: Path, sizes: Sizes = SIZES, length: int = 16) -> Path:
    tokenize_task(raw, encoder, target, Tokenize(max_length=length, split_seed=0), sizes, "demo")
    return target


def test_layout_and_content(tmp_path: Path, encoder: Path) -> None:
    out = run(write_raw(tmp_path / "raw"), encoder, tmp_path / "out")
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert files == [
        "counts.json",
        "evaluation/test.arrow",
        "train/fit.arrow",
        "train/selection.arrow",
        "train/task.json",
    ]
    assert TaskFacts.load(out / TASK) == TaskFacts("demo", ("no", "yes"), 0)
    test = ArrowSplit(out / "evaluation/test.arrow")
    for row, number in enumerate(range(8000, 8020)):
        assert test[row].input_ids == [2, *ids(text_of(number)), 3]
        assert test[row].label == number % 2
        assert test[row].token_type_ids == [0] * len(test[row].input_ids)
    fit, selection = ArrowSplit(out / FIT), ArrowSplit(out / SELECTION)
    train = {tuple(example.input_ids) for part in (fit, selection) for example in part}
    assert train == {(2, *ids(text_of(number)), 3) for number in range(60)}
    counts = json.loads((out / "counts.json").read_text())
    assert [counts[name]["rows"] for name in ("fit", "selection", "test")] == [48, 12, 20]
    assert counts["test"] == {"rows": 20, "truncated": 0, "max_tokens": 8, "labels": [10, 10]}
    assert counts["removed_duplicates"] == 0


def test_groups_of_the_raw_table_stay_together(tmp_path: Path, encoder: Path) -> None:
    rows = range(60)
    frame = table(
        text=[text_of(n) for n in rows],
        label=[("no", "yes")[n % 2] for n in rows],
        group=[f"g{n // 3}" for n in rows],
    )
    frames = {"train": frame, "test": frame.assign(text=[text_of(n + 8000) for n in rows])}
    wanted = replace(task(), columns=Columns(("text",), "label", "group"))
    write_task(build_splits(wanted, frames, "demo"), tmp_path / "raw")
    out = run(tmp_path / "raw", encoder, tmp_path / "out")
    group = {(2, *ids(text_of(n)), 3): n // 3 for n in rows}
    fit, selection = (
        {group[tuple(example.input_ids)] for example in ArrowSplit(out / part)}
        for part in (FIT, SELECTION)
    )
    assert len(fit) == 16 and len(selection) == 4 and not fit & selection


def test_truncated_rows_are_counted(tmp_path: Path, encoder: Path) -> None:
    raw = write_raw(tmp_path / "raw")
    out = run(raw, encoder, tmp_path / "out", length=6)
    longer = sum(len(text_of(number).split()) + 2 > 6 for number in range(8000, 8020))
    counts = json.loads((out / "counts.json").read_text())["test"]
    assert counts["truncated"] == longer and counts["max_tokens"] == 6 and 0 < longer < 20
    assert max(ArrowSplit(out / "evaluation/test.arrow").lengths()) == 6


def test_pair_is_truncated_longest_first(tmp_path: Path, encoder: Path) -> None:
    out = run(write_raw(tmp_path / "raw", pair=True), encoder, tmp_path / "out", length=12)
    example = ArrowSplit(out / "evaluation/test.arrow")[0]
    # 12 - 3 special tokens leave 9 for texts of 6 and 9: the longer shrinks until both are even.
    assert example.input_ids == [2, *ids(text_of(8000))[:4], 3, *ids("w29 " * 5), 3]
    assert example.token_type_ids == [0] * 6 + [1] * 6


def test_type_ids_are_kept_only_where_the_model_reads_them(tmp_path: Path) -> None:
    names = ["input_ids", "attention_mask"]
    encoder = save_tokenizer(tmp_path / "encoder", model_input_names=names)
    out = run(write_raw(tmp_path / "raw", pair=True), encoder, tmp_path / "out")
    assert ArrowSplit(out / FIT)[0].token_type_ids is None


def test_regression(tmp_path: Path, encoder: Path) -> None:
    out = run(write_raw(tmp_path / "raw", regression=True), encoder, tmp_path / "out")
    assert TaskFacts.load(out / TASK).labels is None
    assert [example.label for example in ArrowSplit(out / "evaluation/test.arrow")][:2] == [
        2000.0,
        2000.25,
    ]


def test_more_rows_than_a_batch_and_the_same_bytes(tmp_path: Path, encoder: Path) -> None:
    raw = write_raw(tmp_path / "raw", rows=2 * BATCH + 500)
    sizes = Sizes(fit=BATCH + 700, selection=50, evaluation=7)
    one, two = (run(raw, encoder, tmp_path / name, sizes) for name in ("one", "two"))
    for path in (path for path in one.rglob("*") if path.is_file()):
        assert path.read_bytes() == (two / path.relative_to(one)).read_bytes()
    fit = ArrowSplit(one / FIT)
    assert len(fit) == BATCH + 700 == len({tuple(example.input_ids) for example in fit})
    assert len(ArrowSplit(one / "evaluation/test.arrow")) == 7


@pytest.mark.parametrize(
    ("length", "pair", "expected"),
    [
        (65, False, "tokenize.max_length is 65; allowed: 3 to 64 for this tokenizer"),
        (4, True, "tokenize.max_length is 4; allowed: 5 to 64 for this tokenizer"),
    ],
)
def test_length_has_to_suit_the_tokenizer(
    tmp_path: Path, encoder: Path, length: int, pair: bool, expected: str
) -> None:
    raw = write_raw(tmp_path / "raw", pair=pair)
    with pytest.raises(ParamsError, match=expected):
        run(raw, encoder, tmp_path / "out", length=length)
    assert not (tmp_path / "out").exists()


def test_texts_have_to_suit_the_encoder(tmp_path: Path, encoder: Path) -> None:
    raw = write_raw(tmp_path / "raw", pair=True)  # the longest: 3 special, 6 and 9 tokens
    for positions, fits in ((18, True), (17, False)):
        own = shutil.copytree(encoder, tmp_path / f"encoder{positions}")
        BertConfig(vocab_size=VOCAB, max_position_embeddings=positions).save_pretrained(own)
        if fits:
            run(raw, own, tmp_path / "out", length=64)
            continue
        expected = "max_length is 64, and a text of test has 18 tokens; allowed: up to 17 for this"
        with pytest.raises(ParamsError, match=expected):
            run(raw, own, tmp_path / "none", length=64)
        assert not (tmp_path / "none").exists()


def test_broken_split_leaves_what_was_there(tmp_path: Path, encoder: Path) -> None:
    raw = write_raw(tmp_path / "raw")
    out = run(raw, encoder, tmp_path / "out")
    before = (out / FIT).read_bytes()
    (raw / "test.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="test.parquet: cannot be read"):
        run(raw, encoder, out, Sizes(fit=5, selection=5))
    assert (out / FIT).read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "raw"]
