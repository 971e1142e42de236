"""Labels as users have them: blank, misspelt, categorical, unhashable, drawn anew in every pass."""

from __future__ import annotations

import random
import warnings

import datasets
import numpy as np
import pandas as pd
import pytest

import fishpal
from fishpal.common.errors import DataError, ParamsError
from tests.api.conftest import FAST, plan_of, texts_of


def drawn_anew():
    """Rows in another order in every pass, whose text says their label."""
    order = list(range(40))
    random.shuffle(order)
    for i in order:
        yield {"text": f"w{i % 2}", "label": i % 2}


def test_a_stream_is_read_in_one_pass():
    features = datasets.Features(text=datasets.Value("string"), label=datasets.Value("int64"))
    stream = datasets.IterableDataset.from_generator(drawn_anew, features=features)
    rows = fishpal.Task.from_dataset(stream).rows
    assert len(rows) == 40 and (rows["text"] == "w" + rows["label"].astype(str)).all()


def test_a_transform_that_draws_is_read_in_one_pass():
    def draw(rows):
        labels = [random.randrange(2) for _ in rows["text"]]
        return {"text": [f"w{label}" for label in labels], "label": labels}

    data = datasets.Dataset.from_dict({"text": ["a"] * 60, "label": [0] * 60})
    rows = fishpal.Task.from_dataset(data.with_transform(draw)).rows
    assert (rows["text"] == "w" + rows["label"].astype(str)).all()


@pytest.mark.parametrize("blank", ["", "  "])
def test_a_blank_cell_of_a_file_is_no_class(tmp_path, blank):
    path = tmp_path / "rows.csv"
    rows = [f"w{i},{('good', 'bad')[i % 2]}" for i in range(20)]
    path.write_text("\n".join(["text,label", *rows, f"w1,{blank}", "w2,bad"]))
    with pytest.raises(DataError, match=r"column 'label' row 21 is no label \(null\)"):
        fishpal.Task.from_file(path)


def test_classes_that_differ_in_spaces_or_case_alone_are_named():
    texts, labels = texts_of(30, classes=3)
    names = [("pos", " pos", "neg")[y] for y in labels]
    with pytest.warns(fishpal.FishpalWarning, match="' pos', 'pos' differ in spaces, case"):
        fishpal.Task.from_lists(texts, names)
    names = [("caf\u00e9", "cafe\u0301", "neg")[y] for y in labels]
    with pytest.warns(fishpal.FishpalWarning, match=r"'cafe\\u0301', 'caf\\xe9' differ in spaces"):
        fishpal.Task.from_lists(texts, names)


def test_labels_with_spaces_around_them_are_named(tmp_path):
    """As after the comma of a file, where they sort before those without."""
    path = tmp_path / "rows.csv"
    path.write_text("text,label\n" + "a,0\nb, 1\n" * 9)
    with pytest.warns(fishpal.FishpalWarning, match="class ' 1' has spaces around it"):
        assert fishpal.Task.from_file(path).classes == (" 1", "0")


def test_amounts_that_are_texts_are_named():
    with pytest.warns(fishpal.FishpalWarning, match="texts, taken as 40 classes of 40 rows"):
        fishpal.Task.from_lists(["w1"] * 40, [f"0,{i}" for i in range(40)])


def test_a_label_that_is_no_number_among_amounts_is_named(tmp_path):
    """Else one cell makes a regression a classification, without a word."""
    labels = [f"{i % 26 / 5:.1f}" for i in range(200)]
    labels[17] = "NA"
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["text,label", *(f"w{i},{y}" for i, y in enumerate(labels))]))
    with pytest.warns(fishpal.FishpalWarning, match="199 of 200 labels are numbers, 'NA' of row"):
        assert len(fishpal.Task.from_file(path).classes) == 27
    with pytest.warns(fishpal.FishpalWarning, match="all are taken as 27 classes"):
        fishpal.Task.from_lists(["w1"] * 200, labels)


def test_a_stray_label_among_class_numbers_is_named(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("\n".join(["text,label", *(f"w{i},{i % 3}" for i in range(59))]))
    with pytest.warns(
        fishpal.FishpalWarning, match="59 of 60 labels are numbers, 'label' of row 1"
    ):
        fishpal.Task.from_file(path, text=0, label=1, header=False)


def test_whole_amounts_of_type_float_are_named():
    """Amounts times 20 have no fraction left."""
    amounts = [i % 11 * 10.0 for i in range(60)]
    with pytest.warns(fishpal.FishpalWarning, match="of type float, taken as 11 classes; regress"):
        assert len(fishpal.Task.from_lists(["w1"] * 60, amounts).classes) == 11
    with warnings.catch_warnings():
        warnings.simplefilter("error", fishpal.FishpalWarning)
        fishpal.Task.from_lists(["w1"] * 60, amounts, regression=True)
        fishpal.Task.from_lists(["w1"] * 60, [float(i % 2) for i in range(60)])


def test_one_class_alone_is_named_as_it_is_spelt():
    with pytest.raises(DataError, match="all labels are 'spam'; allowed: two classes or more"):
        fishpal.Task.from_lists(["w1"] * 9, ["spam"] * 9)
    with pytest.raises(DataError, match="all labels are spam; allowed: two classes or more"):
        fishpal.Classifier("nowhere", None).fit(["w1"] * 9, ["spam"] * 9)


def test_a_class_without_a_row_in_fit_is_named(encoder):
    texts = [*texts_of(60)[0], "w1 w2"]
    task = fishpal.Task.from_lists(texts, ["a", "b"] * 30 + ["c"], fit=6)
    with pytest.warns(fishpal.FishpalWarning, match="fit has no row of 'c': nothing is learnt"):
        task.tokenised(encoder)


def test_lists_keep_the_order_of_a_categorical():
    values = pd.Categorical(["high", "low"] * 15, ["low", "high"], ordered=True)
    texts = ["w1", "w2"] * 15
    frame = pd.DataFrame({"text": texts, "label": values})
    for labels in (values, pd.Series(values, index=range(5, 35))):
        task = fishpal.Task.from_lists(texts, labels)
        assert task.classes == fishpal.Task.from_frame(frame).classes == ("low", "high")
        assert task.rows["label"].tolist() == [1, 0] * 15


@pytest.mark.parametrize(
    "label", ["a\ud800", bytearray(b"a"), slice(3)], ids=lambda x: type(x).__name__
)
def test_what_is_no_label_is_named(label):
    with pytest.raises(DataError, match=r"column 'label' row 3 is .*; allowed: one label a row"):
        fishpal.Task.from_lists(["w1"] * 20, ["a", "b", label] + ["a"] * 17)


@pytest.mark.parametrize(
    ("name", "given"),
    [("text", {"text": None}), ("text", {"text": [b"text"]}), ("header", {"header": "no"})],
)
def test_columns_of_a_file_are_names(tmp_path, name, given):
    (tmp_path / "rows.csv").write_text("text,label\n" + "w1,a\nw2,b\n" * 10)
    with pytest.raises(ParamsError, match=f"^{name} is"):
        fishpal.Task.from_file(tmp_path / "rows.csv", **given)


def test_columns_of_a_frame_may_be_numbers():
    frame = pd.DataFrame([("w1", "a"), ("w2", "b")] * 10)
    assert len(fishpal.Task.from_frame(frame, 0, 1)) == 20


def test_a_fit_that_fails_leaves_the_one_before(encoder):
    texts, labels = texts_of(60)
    made = fishpal.Classifier(encoder, plan_of(encoder), FAST, selection=0.3)
    made.fit(texts, np.array(["no", "yes"])[labels])
    before = made.predict(texts[:9]).tolist()
    with pytest.raises(fishpal.FishpalError, match="60 texts and 50 labels"):
        made.fit(texts, np.array(["bad", "good", "none"])[labels][:50])
    assert made.predict(texts[:9]).tolist() == before and set(before) <= {"no", "yes"}


def test_an_evaluation_needs_rows_and_labels_within_reach(encoder, tmp_path):
    texts, labels = texts_of(40)
    amounts = [float(y) + i / 100 for i, y in enumerate(labels)]
    task = fishpal.Task.from_lists(texts, amounts)
    model = fishpal.start(encoder, task, plan_of(encoder, task=task.name))
    with pytest.raises(DataError, match="task: has no rows"):
        model.evaluate(fishpal.Task.from_lists([], [], regression=True))
    far = fishpal.Task.from_lists(texts, [1e30, *amounts[1:]], name="far")
    with pytest.raises(DataError, match=r"far: evaluation: label 1e\+30"):
        model.evaluate(far)
    with pytest.warns(fishpal.FishpalWarning, match="label 1000 of evaluation is more than 10"):
        model.evaluate(fishpal.Task.from_lists(texts, [1000.0, *amounts[1:]], name="far"))
    model.save(tmp_path / "model")
