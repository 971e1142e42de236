"""What tasks, models and the estimator take: right, or refused in one line."""

from __future__ import annotations

import json
import shutil
from decimal import Decimal

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import f1_score

import fishpal
from tests.api.conftest import FAST, plan_of, texts_of

TEXTS = [f"w{i}" for i in range(8)]


def frame_of(labels):
    return pd.DataFrame({"text": TEXTS[: len(labels)], "label": labels})


def refused(call, *words):
    """The call ends in one `FishpalError` of one line that has these words."""
    with pytest.raises(fishpal.FishpalError) as caught:
        call()
    message = str(caught.value)
    assert all(word in message for word in words) and "\n" not in message, message
    assert "allowed: " in message


def test_an_option_that_there_is_not_is_refused(tmp_path):
    frame = frame_of([0, 1] * 4).assign(author=[1, 1, 2, 2] * 2)
    frame.to_csv(tmp_path / "rows.csv", index=False)
    data = datasets.Dataset.from_pandas(frame)
    for make in (
        lambda **options: fishpal.Task.from_frame(frame, **options),
        lambda **options: fishpal.Task.from_file(tmp_path / "rows.csv", **options),
        lambda **options: fishpal.Task.from_dataset(data, **options),
    ):
        refused(lambda make=make: make(groups="author"), "groups", "(did you mean 'group'?)")
    refused(
        lambda: fishpal.Task.from_lists(TEXTS, [0, 1] * 4, max_lenght=16),
        "option is 'max_lenght' (did you mean 'max_length'?)",
    )


WRONG = [
    ("selection", "0.1"), ("selection", None), ("selection", True), ("name", None), ("name", 5),
    ("max_length", "16"), ("max_length", None), ("max_length", 16.5), ("seed", "1"), ("seed", None),
    ("fit", "5"), ("fit", 2.5), ("classes", "01"), ("classes", 2), ("classes", {0, 1}),
    ("metrics", 5), ("regression", "no"), ("group", ["a"]),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), WRONG, ids=str)
def test_an_option_of_the_wrong_type_is_named(key, value):
    call = lambda: fishpal.Task.from_lists(TEXTS, [0, 1] * 4, **{key: value})  # noqa: E731
    refused(call, f"{key} is {value!r}; ")


def test_options_of_numpy_and_none_are_as_python_has_them():
    def task(**options):
        return fishpal.Task.from_lists(TEXTS, [0, 1] * 4, **options)

    assert task(classes=np.unique([1, 0])).classes == ("0", "1")
    assert task(classes=(c for c in (1, 0))).classes == ("1", "0")
    assert task(selection=np.float32(0.5)).spec.sizes.selection == 0.5
    assert task(fit=np.int64(4), max_length=np.int64(16)).options.max_length == 16
    nothing = dict.fromkeys(("classes", "regression", "metrics", "fit", "group"))
    assert task(**nothing).spec == task().spec
    assert task(metrics="matthews").spec.metrics == ("matthews",)
    numbers = (n % 2 for n in range(8))
    assert fishpal.Task.from_lists(iter(TEXTS), numbers, iter(range(8))).classes == ("0", "1")


FILES = [  # cells of a file, classes
    (["01", "1", "01", "1"], ("01", "1")),
    (["007", "7", "8"], ("007", "7", "8")),
    (["1e3", "1000"], ("1000", "1e3")),
    (["+1", "1"], ("+1", "1")),
    (["0", "-0"], ("-0", "0")),
    (["1", "1.0"], ("1", "1.0")),
    (["10", "-2", "9"], ("-2", "9", "10")),
    (["1.0", "10.0", "2.0"], ("1", "2", "10")),
    (["123456789012345678901", "123456789012345678902"],) * 2,
    (["0.5", "1", "10"], None),
    (["3.10", "3.1", "2"], None),
    (["1e-05", "2"], None),
]


@pytest.mark.parametrize(("cells", "classes"), FILES, ids=str)
def test_labels_of_a_file_are_merged_only_where_they_are_the_same(tmp_path, cells, classes):
    path = tmp_path / "rows.csv"
    frame_of(cells).to_csv(path, index=False)
    task = fishpal.Task.from_file(path)
    assert task.classes == (None if classes is None else tuple(classes))
    labels = task.rows["label"]
    if classes is None:
        assert labels.tolist() == [float(cell) for cell in cells]
    elif len(set(map(float, cells))) < len(set(cells)):  # that numbers would merge
        assert [classes[label] for label in labels] == cells


def test_versions_and_missing_numbers_of_a_file(tmp_path):
    path = tmp_path / "rows.csv"
    frame_of(["3.10", "3.1"]).to_csv(path, index=False)
    assert fishpal.Task.from_file(path, regression=False).classes == ("3.1", "3.10")
    assert fishpal.Task.from_file(path, classes=np.array(["3.10", "3.1"])).classes[0] == "3.10"
    for cells in (["0.5", None, "0.7"], ["1", None, "2"]):
        frame_of(cells).to_csv(path, index=False)
        refused(lambda: fishpal.Task.from_file(path), "row 2 is")
    path = tmp_path / "rows.jsonl"
    frame_of([0.5, 0.7, 3]).to_json(path, orient="records", lines=True)
    assert fishpal.Task.from_file(path).classes is None


COLUMNS = {  # labels of dtype object, and what they make
    "floats": ([0.1, 0.7, 0.2, 1] * 2, None),
    "decimals": ([Decimal("0.1"), Decimal(1)] * 4, None),
    "floats, one missing": ([0.1, None, *[0.2, 1] * 3], "row 2 is 'None'"),
    "whole floats": ([10.0, 9.0] * 4, ("9", "10")),
    "whole decimals": ([Decimal("1.00"), Decimal("2.00")] * 4, ("1", "2")),
    "truth values": ([True, False] * 4, ("False", "True")),
    "a number and a text": ([0.5, "a"] * 4, ("0.5", "a")),
}


@pytest.mark.parametrize(("labels", "classes"), COLUMNS.values(), ids=COLUMNS)
def test_numbers_with_fractions_are_a_regression_in_whatever_column(labels, classes):
    labels = pd.Series(labels, dtype=object)
    if isinstance(classes, str):
        refused(lambda: fishpal.Task.from_frame(frame_of(labels)), classes)
    else:
        assert fishpal.Task.from_frame(frame_of(labels)).classes == classes


def test_fractions_are_classes_where_one_says_so():
    levels = pd.Categorical([0.5, 1.0] * 4, categories=[1.0, 0.5])
    assert fishpal.Task.from_frame(frame_of(levels)).classes == ("1.0", "0.5")
    labels = [0.5, 10.0, 9.0, 1.5] * 2
    task = fishpal.Task.from_lists(TEXTS, labels, regression=False)
    assert task.classes == ("0.5", "1.5", "9.0", "10.0")
    assert [float(task.classes[label]) for label in task.rows["label"]] == labels


SINGLES = {"torch": torch.tensor, "NumPy": np.array}


@pytest.mark.parametrize("single", SINGLES.values(), ids=SINGLES)
def test_labels_without_dimensions_are_the_values_that_they_hold(single):
    numbers, fractions, truths = [0, 2, 10, 2] * 2, [0.5, 2.0, 1.0, 0.25] * 2, [True, False] * 4
    for labels, classes in (
        (numbers, ("0", "2", "10")), (fractions, None), (truths, ("False", "True")),
    ):  # fmt: skip
        given = list(map(single, labels))
        for task in (
            fishpal.Task.from_lists(TEXTS, given),
            fishpal.Task.from_frame(frame_of(pd.Series(given, dtype=object))),
        ):
            assert task.classes == classes
            expected = fishpal.Task.from_lists(TEXTS, labels).rows["label"]
            assert task.rows["label"].tolist() == expected.tolist()
    groups = fishpal.Task.from_lists(TEXTS, [0, 1] * 4, [single(n // 2) for n in range(8)])
    assert groups.rows["group"].tolist() == [str(n // 2) for n in range(8)]
    assert fishpal.Task.from_lists(TEXTS, torch.tensor(numbers)).classes == ("0", "2", "10")


@pytest.mark.parametrize("form", ["torch", "numpy", "pandas", "arrow", None])
def test_a_dataset_says_the_same_in_whatever_format(form):
    labels = [0, 1] * 4
    data = datasets.Dataset.from_dict({"text": TEXTS, "label": labels})
    named = data.cast_column("label", datasets.ClassLabel(names=["bad", "good"]))
    numbers = datasets.Dataset.from_dict({"text": TEXTS, "label": [y + 0.5 for y in labels]})
    make = fishpal.Task.from_dataset
    assert make(data.with_format(form)).classes == ("0", "1")
    assert make(named.with_format(form)).classes == ("bad", "good")
    assert make(numbers.with_format(form)).rows["label"].tolist() == [0.5, 1.5] * 4
    assert make(data.with_format(form, columns=["label"])).rows["text"].tolist() == TEXTS


def test_what_a_dataset_s_own_transform_makes_are_its_rows():
    def shout(batch):
        marked = {"text": [f"{text} !" for text in batch.get("text", ())]}
        return batch | marked | {"label": list(map(torch.tensor, batch.get("label", ())))}

    data = datasets.Dataset.from_dict({"text": TEXTS, "label": [0, 1] * 4})
    named = data.cast_column("label", datasets.ClassLabel(names=["bad", "good"]))
    task = fishpal.Task.from_dataset(named.with_transform(shout))
    assert task.rows["text"].tolist() == [f"{text} !" for text in TEXTS]
    assert task.classes == ("bad", "good") and task.rows["label"].tolist() == [0, 1] * 4


def test_names_of_classes_are_no_hindrance_to_a_regression():
    data = datasets.Dataset.from_dict({"text": TEXTS, "label": [0, 1] * 4})
    named = data.cast_column("label", datasets.ClassLabel(names=["bad", "good"]))
    task = fishpal.Task.from_dataset(named, regression=True)
    assert task.classes is None and task.rows["label"].tolist() == [0.0, 1.0] * 4


def test_tokens_are_those_of_the_encoder_s_present_tokenizer(encoder_folder, task, tmp_path):
    folder = shutil.copytree(encoder_folder, tmp_path / "encoder")
    before = task.tokenised(fishpal.load_encoder(folder))
    assert task.tokenised(fishpal.load_encoder(folder)) is before
    path = folder / "tokenizer.json"
    known = json.loads(path.read_text())
    vocabulary = known["model"]["vocab"]
    vocabulary["w1"], vocabulary["w2"] = vocabulary["w2"], vocabulary["w1"]
    path.write_text(json.dumps(known))
    after = task.tokenised(fishpal.load_encoder(folder))
    assert [each.input_ids for each in after.fit] != [each.input_ids for each in before.fit]


@pytest.mark.parametrize("pooling", ["max", "CLS", ""])
def test_a_pooling_that_there_is_not_is_refused(encoder_folder, pooling):
    words = f"pooling is '{pooling}'"
    refused(lambda: fishpal.load_encoder(encoder_folder, pooling), words, "cls, last, mean")


TWICE = pd.DataFrame(
    [[t, t, n % 2] for n, t in enumerate(TEXTS)], columns=["text", "text", "label"]
)
NO_ROWS = [
    (lambda: fishpal.Task.from_lists(TEXTS, [[0], [1]] * 4), "'label' row 1 is [0]"),
    (lambda: fishpal.Task.from_lists(TEXTS, [0, (1, 0)] * 4), "'label' row 2 is (1, 0)"),
    (lambda: fishpal.Task.from_lists(TEXTS, [0, 1] * 3 + [0, np.inf]), "row 8 is 'inf'"),
    (lambda: fishpal.Task.from_lists(TEXTS, [0, np.inf] * 4, regression=True), "is 'inf'"),
    (lambda: fishpal.Task.from_lists(TEXTS, [0, np.inf] * 4, regression=False), "row 2 is inf"),
    (lambda: fishpal.Task.from_lists(TEXTS, None), "labels is None"),
    (lambda: fishpal.Task.from_lists(TEXTS, "01010101"), "labels is '01010101'"),
    (lambda: fishpal.Task.from_lists(TEXTS, set(range(8))), "labels is {0, 1"),
    (lambda: fishpal.Task.from_lists(TEXTS, [0, 1] * 4, groups=3), "groups is 3"),
    (lambda: fishpal.Task.from_lists(None, [0, 1] * 4), "texts is None"),
    (lambda: fishpal.Task.from_lists({"text": TEXTS}, [0]), "texts is {'text': "),
    (lambda: fishpal.Task.from_frame({"text": TEXTS}), "frame is dict"),
    (lambda: fishpal.Task.from_frame(TWICE), "two columns are named 'text'"),
    (
        lambda: fishpal.Task.from_frame(TWICE.set_axis(["text", "label", "label"], axis=1)),
        "'label'",
    ),
]


@pytest.mark.parametrize(("call", "words"), NO_ROWS, ids=[words for _, words in NO_ROWS])
def test_what_are_no_rows_is_named(call, words):
    refused(call, words)


@pytest.mark.parametrize("size", [-1, 0, None, 2.0, True, "8"])
def test_no_prediction_without_batches(encoder, task, size):
    model = fishpal.start(encoder, task, plan_of(encoder))
    words = f"batch_size is {size!r}; allowed: an integer from 1"
    for texts in (TEXTS, []):
        refused(lambda texts=texts: model.predict(texts, batch_size=size), words)
    refused(lambda: model.evaluate(task, batch_size=size), words)
    examples = task.examples(encoder)
    refused(lambda: fishpal.predict(model.module, examples, model.task, size), words)
    assert len(model.predict(TEXTS, batch_size=np.int64(3))) == 8


NO_TEXTS = [
    ({"text": TEXTS}, "texts is {'text'"),
    (None, "texts is None"),
    ({"w1"}, "texts is {'w1'}"),
    (frozenset({"w1"}), "texts is frozenset"),
    (5, "texts is 5"),
    (b"w1", "texts is b'w1'"),
    (np.array("w1"), "texts is array"),
    (["w1", "w2\ud800"], r"row 2 is text with '\ud800' (NUL or a lone surrogate)"),
    (["w1\0"], r"row 1 is text with '\x00'"),
    ([np.array("w1")], "row 1 is array"),
    ([None], "row 1 is None"),
]


@pytest.mark.parametrize(("texts", "words"), NO_TEXTS, ids=[words for _, words in NO_TEXTS])
def test_what_are_no_texts_is_named(encoder, task, texts, words):
    model = fishpal.start(encoder, task, plan_of(encoder))
    refused(lambda: model.predict(texts), words)


def test_whole_numbers_are_texts_in_predict_as_in_a_task(encoder):
    texts, labels = texts_of(30)
    task = fishpal.Task.from_lists([7, *texts[1:]], labels, name="toy")
    model = fishpal.start(encoder, task, plan_of(encoder))
    with pytest.warns(fishpal.FishpalWarning, match="in 1 of 2 texts the tokenizer knows nothing"):
        assert np.array_equal(model.logits([7, "w1"]), model.logits(["7", "w1"]))
    frame = pd.DataFrame({"text": texts, "id": range(30)})
    with pytest.warns(fishpal.FishpalWarning, match="column 'id' holds numbers"):
        assert "text_pair" in fishpal.Task.from_lists(frame, labels).rows


def test_texts_of_whatever_sequence(encoder, task):
    model = fishpal.start(encoder, task, plan_of(encoder))
    expected = model.predict(TEXTS)
    for texts in (tuple(TEXTS), iter(TEXTS), np.array(TEXTS), pd.Series(TEXTS)):
        assert model.predict(texts) == expected
    assert model.predict("w0") == expected[:1]


def test_pairs_and_single_texts_are_not_taken_for_one_another(encoder, task):
    texts, labels = texts_of(40)
    pairs = list(zip(texts, texts[::-1], strict=True))
    two = fishpal.Task.from_lists(pairs, labels, name="two")
    single, pair = (fishpal.start(encoder, each, plan_of(encoder)) for each in (task, two))
    refused(lambda: single.predict(pairs), "texts are pairs; allowed: single ones, as toy has")
    refused(lambda: pair.predict(texts), "texts are single ones; allowed: pairs, as two has")
    refused(lambda: single.evaluate(two), "texts of two are pairs; allowed: single")
    refused(lambda: pair.evaluate(task), "texts of toy are single ones; allowed: pairs")
    model, tokenizer = single.module, encoder.tokenizer
    refused(lambda: fishpal.label_texts(model, tokenizer, texts, texts), "texts are pairs")
    assert len(pair.predict(pairs)) == len(single.predict(texts)) == 40
    assert pair.predict([]) == single.predict([]) == []


def test_f1_of_a_model_with_more_classes_than_the_test_set(encoder):
    texts, labels = texts_of(120, classes=3)
    names = np.array(["bad", "fine", "good"])
    task = fishpal.Task.from_lists(texts, names[labels])
    model = fishpal.fit(encoder, task, plan_of(encoder, task="task"), options=FAST)
    kept = [row for row, label in enumerate(labels) if label != 1]
    rows, truth = [texts[row] for row in kept], names[[labels[row] for row in kept]]
    test = fishpal.Task.from_lists(rows, truth, name="test")
    with pytest.warns(fishpal.FishpalWarning, match="test: f1 is that of two classes, and the mod"):
        scores = model.evaluate(test)
    found = model.predict(rows)
    assert list(scores) == ["n", "loss", "accuracy", "macro_f1"]
    assert scores["macro_f1"] == pytest.approx(f1_score(truth, found, average="macro"))
    both = fishpal.Task.from_lists(rows, truth, metrics=["f1", "macro_f1"])
    with pytest.warns(fishpal.FishpalWarning):
        assert model.evaluate(both)["macro_f1"] == scores["macro_f1"]


NO_CLASSES = {
    "nan": ([np.nan, *[0, 1] * 15], "row 1 is nan, missing"),
    "none": ([*["a", "b"] * 15, None], "row 31 is None, missing"),
    "NA": (pd.Series(["a", pd.NA, "b"] * 10, dtype="string"), "row 2 is <NA>, missing"),
    "NaN in texts": (["a", "b", float("nan")] * 10, "row 3 is nan, missing"),
    "NaT": (pd.to_datetime(pd.Series(["2020-01-01", None] * 15)), "row 2 is"),
    "fractions": ([1, 0, 0.5] * 10, "row 3 is 0.5; allowed: classes, texts or whole numbers"),
    "fractions in objects": (np.array([1, 0.5] * 15, dtype=object), "with regression=True"),
    "infinity": ([0.0, np.inf] * 15, "row 2 is inf"),
    "mixed": ([1, "a"] * 15, "row 2 is 'a', row 1 is 1; allowed: texts alone, or numbers alone"),
    "lists": ([[0], [1]] * 15, "row 1 is [0]; allowed: one class a row"),
    "several columns": (np.zeros((30, 2)), "row 1 is array"),
    "nothing": (None, "labels is None"),
    "a set": ({0, 1}, "labels is {0, 1}"),
}


@pytest.mark.parametrize(("labels", "words"), NO_CLASSES.values(), ids=NO_CLASSES)
def test_the_estimator_refuses_what_is_no_class(encoder, labels, words):
    texts = texts_of(30)[0]
    refused(lambda: fishpal.Classifier(encoder, plan_of(encoder)).fit(texts, labels), words)


def test_the_estimator_takes_classes_of_whatever_type(encoder):
    texts, labels = texts_of(30)
    names = ["no" if label else "yes" for label in labels]
    quick = fishpal.TrainOptions(epochs=1, evaluations_per_epoch=1)
    for given, expected in (
        (np.array(labels)[:, None], [0, 1]),
        (np.array(labels, dtype=float), [0.0, 1.0]),
        (np.array(labels, dtype=bool), [False, True]),
        (iter(labels), [0, 1]),
        (pd.Categorical(names), ["no", "yes"]),
        (pd.Series(names, dtype="string"), ["no", "yes"]),
        (torch.tensor(labels), [0, 1]),
        (list(torch.tensor(labels)), [0, 1]),
        ([2**63 - y for y in labels], [2**63 - 1, 2**63]),
        ([2**53 + y if y else 2.0**53 for y in labels], [2**53, 2**53 + 1]),
        ([1e16 * (y + 1) for y in labels], [1e16, 2e16]),
    ):
        found = fishpal.Classifier(encoder, plan_of(encoder), quick).fit(texts, given)
        assert found.classes_.tolist() == expected
        assert set(found.predict(texts)) <= set(expected)


@pytest.mark.parametrize(("many", "options", "warnings"), [
    (30, {}, 1), (20, {}, 0), (30, {"regression": True}, 0), (30, {"regression": False}, 0),
])  # fmt: skip
def test_many_whole_numbers_may_be_no_classes(recwarn, many, options, warnings):
    fishpal.Task.from_lists(
        [f"t{n}" for n in range(120)], [n % many for n in range(120)], **options
    )
    said = [str(each.message) for each in recwarn if "taken as" in str(each.message)]
    assert len(said) == warnings
    assert all("task: labels are whole numbers, taken as 30 classes; reg" in each for each in said)
