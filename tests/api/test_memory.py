"""From texts in memory to predictions, and by the pipeline's own functions."""

from __future__ import annotations

import json
import sys
import types
import warnings

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import fishpal
from fishpal.common.progress import tqdm
from fishpal.encoders.encoder import fingerprint
from fishpal.params.load import load_params
from tests.api.conftest import FAST, RATES, measured_as_stages, plan_of, texts_of


def test_from_texts_to_class_names(encoder, task):
    measured = fishpal.measure(encoder, task, fishpal.FisherOptions(examples=16), training=FAST)
    plan = fishpal.select(measured, rates=RATES)
    assert len(plan.layers) == encoder.facts.layers and plan.reason.rule == "race"
    model = fishpal.fit(encoder, task, plan, seed=0, options=FAST)
    texts, labels = texts_of(60, seed=1)
    names = [("bad", "good")[label] for label in labels]
    found = model.predict(texts)
    right = np.mean(np.array(found) == names)
    assert right > 0.65
    proba = model.predict_proba(texts)
    assert proba.shape == (60, 2) and np.allclose(proba.sum(axis=1), 1)
    assert [model.classes[i] for i in proba.argmax(axis=1)] == found
    scores = model.evaluate(fishpal.Task.from_lists(texts, names))
    assert scores["n"] == 60 and scores["accuracy"] == pytest.approx(right)
    index = [model.classes.index(name) for name in names]
    assert scores["loss"] == pytest.approx(-np.log(proba[np.arange(60), index]).mean(), abs=1e-6)
    assert model.predict([]) == []


def test_the_stages_compute_the_same(project, tmp_path, monkeypatch):
    monkeypatch.chdir(project)
    params = load_params()
    encoder, task, measured = measured_as_stages(params)
    plan = fishpal.select(measured, params.method("lora"), params.select,
                          params.train.learning_rate)  # fmt: skip
    theirs = json.loads((project / "artifacts/plans/toy/lora.json").read_text())
    mine = json.loads(json.dumps(plan.to_json()))
    assert mine | {"method": "lora"} == theirs
    table = json.loads((project / "artifacts/fisher/toy.json").read_text())
    assert json.loads(json.dumps(measured.table.to_json())) == table
    fishpal.fit(encoder, task, plan, 0, params.train, params.head).save(tmp_path / "model")
    for name in ("modules", "head"):
        file = f"{name}.safetensors"
        mine, theirs = (load_file(folder / file) for folder in (
            tmp_path / "model", project / "artifacts/trained/toy/lora/0"))  # fmt: skip
        assert set(mine) == set(theirs)
        assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_models_of_one_encoder_live_side_by_side(encoder, task):
    before = fingerprint(encoder.model)
    texts, _ = texts_of(20, seed=2)
    first = fishpal.fit(encoder, task, plan_of(encoder, "prefix"), options=FAST)
    logits = first.logits(texts)
    second = fishpal.fit(encoder, task, plan_of(encoder, "lora"), options=FAST)
    assert np.array_equal(first.logits(texts), logits)
    assert not np.array_equal(second.logits(texts), logits)
    shared = dict(encoder.model.named_parameters())
    own = dict(second.module.encoder.named_parameters())
    assert all(p.data_ptr() == shared[n].data_ptr() and p is not shared[n] for n, p in own.items())
    full = fishpal.Plan("toy", "full", encoder.facts, (None,) * 3, plan_of(encoder).reason,
                        full=True)  # fmt: skip
    fishpal.fit(encoder, task, full, options=FAST)
    assert fingerprint(encoder.model) == before
    assert not any(parameter.requires_grad for parameter in encoder.model.parameters())


@pytest.mark.parametrize("kind", ["prefix", "adapter", "lora", "full"])
def test_saved_and_loaded(encoder, encoder_folder, task, tmp_path, kind):
    plan = plan_of(encoder, None if kind == "full" else kind)
    plan = fishpal.Plan(**vars(plan) | {"full": kind == "full"})
    model = fishpal.fit(encoder, task, plan, options=FAST)
    model.save(tmp_path / "model")
    texts, _ = texts_of(20, seed=2)
    for again in (fishpal.load_model(tmp_path / "model"),
                  fishpal.load_model(tmp_path / "model", encoder),
                  fishpal.load_model(tmp_path / "model", encoder_folder)):  # fmt: skip
        assert np.array_equal(again.logits(texts), model.logits(texts))
        assert again.predict(texts) == model.predict(texts)
    (tmp_path / "model/origin.json").unlink()
    with pytest.raises(fishpal.FishpalError, match=r"has no origin.json; allowed: with `encoder`"):
        fishpal.load_model(tmp_path / "model")


def test_a_regression(encoder):
    texts, labels = texts_of(120)
    numbers = [5.5 + 100 * label for label in labels]
    task = fishpal.Task.from_lists(texts, numbers)
    assert task.classes is None
    model = fishpal.fit(encoder, task, plan_of(encoder, task="task"), options=FAST)
    test, expected = texts_of(40, seed=1)
    found = model.predict(test)
    assert np.corrcoef(found, expected)[0, 1] > 0.5 and 5 < np.mean(found) < 106
    scores = model.evaluate(fishpal.Task.from_lists(test, [5.5 + 100 * y for y in expected]))
    assert scores["pearson"] == pytest.approx(np.corrcoef(found, expected)[0, 1])
    with pytest.raises(fishpal.FishpalError, match="predict_proba of a regression"):
        model.predict_proba(test)
    with pytest.raises(fishpal.FishpalError, match="is a classification; allowed: a regression"):
        model.evaluate(fishpal.Task.from_lists(test, expected))


def test_labels_are_taken_as_they_are():
    texts = [f"w{i}" for i in range(12)]

    def classes(labels, **options):
        return fishpal.Task.from_lists(texts, labels, **options).classes

    assert classes([10, 9, 2] * 4) == ("2", "9", "10")
    assert classes(np.array([1.0, 0.0, 1.0] * 4)) == ("0", "1")
    assert classes([True, False] * 6) == ("False", "True")
    assert classes(["yes", "no", "maybe"] * 4) == ("maybe", "no", "yes")
    assert classes(["yes", "no"] * 6, classes=["yes", "no"]) == ("yes", "no")
    assert classes([1, 2, 3] * 4, regression=True) is None
    assert classes([1, 2.5, 3] * 4) is None
    order = pd.Categorical(["low", "high"] * 6, categories=["low", "high"])
    frame = pd.DataFrame({"words": texts, "level": order}, index=range(100, 112))
    assert fishpal.Task.from_frame(frame, "words", "level").classes == ("low", "high")


def test_sources_agree(tmp_path, encoder):
    texts, labels = texts_of(40)
    pairs, _ = texts_of(40, seed=5)
    names = ["bad", "good"]
    frame = pd.DataFrame({"a": texts, "b": pairs, "y": [names[label] for label in labels]})
    expected = fishpal.Task.from_frame(frame, ["a", "b"], "y").tokenised(encoder)
    features = datasets.Features(
        {"a": datasets.Value("string"), "b": datasets.Value("string"),
         "y": datasets.ClassLabel(names=names)}
    )  # fmt: skip
    data = datasets.Dataset.from_dict({"a": texts, "b": pairs, "y": labels}, features)
    frame.to_csv(tmp_path / "rows.csv", index=False)
    frame.to_csv(tmp_path / "bare.tsv", index=False, header=False, sep="\t")
    tasks = [
        fishpal.Task.from_dataset(data, ["a", "b"], "y"),
        fishpal.Task.from_lists(list(zip(texts, pairs, strict=True)), frame["y"]),
        fishpal.Task.from_file(tmp_path / "rows.csv", ["a", "b"], "y"),
        fishpal.Task.from_file(tmp_path / "bare.tsv", [0, 1], 2, header=False),
    ]
    for task in tasks:
        found = task.tokenised(encoder)
        assert task.classes == ("bad", "good") and found == expected
    numbers = frame.assign(y=[1.5, 2.0] * 20)
    numbers.to_csv(tmp_path / "numbers.csv", index=False)
    assert fishpal.Task.from_file(tmp_path / "numbers.csv", "a", "y").classes is None


def test_groups_stay_together_whatever_they_come_from(tmp_path, encoder):
    texts, labels = [f"w{n % 30} w{n // 30}" for n in range(60)], [0, 1] * 30
    groups = [n // 4 for n in range(60)]
    frame = pd.DataFrame({"text": texts, "label": labels, "author": groups})
    frame.to_csv(tmp_path / "rows.csv", index=False)
    cut = {"group": "author", "selection": 12}
    tasks = [
        fishpal.Task.from_frame(frame, **cut),
        fishpal.Task.from_lists(texts, labels, groups, selection=12),
        fishpal.Task.from_file(tmp_path / "rows.csv", **cut),
        fishpal.Task.from_dataset(datasets.Dataset.from_pandas(frame), **cut),
    ]
    first, *others = (task.tokenised(encoder) for task in tasks)
    assert all(list(other.selection) == list(first.selection) for other in others)
    author = {
        tuple(e.input_ids): g for e, g in zip(tasks[0].examples(encoder), groups, strict=True)
    }
    fit, selection = (
        {author[tuple(example.input_ids)] for example in part}
        for part in (first.fit, first.selection)
    )
    assert len(selection) == 3 and len(fit) == 12 and not fit & selection
    holes = [*groups[:-1], None]
    with pytest.raises(fishpal.FishpalError, match=r"'group' row 60 is no text \(null\)"):
        fishpal.Task.from_lists(texts, labels, holes)
    with pytest.raises(fishpal.FishpalError, match=r"'author' row 60 is no text \(null\)"):
        fishpal.Task.from_frame(frame.assign(author=holes), group="author")
    frame["pair"] = frame["author"].astype(str)
    frame.to_csv(tmp_path / "rows.csv", index=False)
    pairs = fishpal.Task.from_file(tmp_path / "rows.csv", ["pair", "text"], group="pair")
    assert "group" in pairs.rows
    with pytest.warns(fishpal.FishpalWarning, match="2 texts or their groups stand in selection"):
        fishpal.Task.from_frame(frame, group="author", selection=10).tokenised(encoder)


def test_what_is_cut_or_left_out_is_warned_about(encoder):
    texts, labels = texts_of(40)
    with pytest.warns(fishpal.FishpalWarning, match="36 of 36 texts were cut at max_length 6"):
        fishpal.Task.from_lists(texts, labels, max_length=6).tokenised(encoder)
    with pytest.warns(fishpal.FishpalWarning, match="texts stand in selection, too: left out"):
        fishpal.Task.from_lists(texts[:10] * 4, labels[:10] * 4).tokenised(encoder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        task = fishpal.Task.from_lists(texts, labels, selection=20)
        model = fishpal.start(encoder, task, plan_of(encoder))
        model.predict(texts)
    model.max_length = 6
    with pytest.warns(fishpal.FishpalWarning, match="texts: 40 of 40 texts were cut at max_le"):
        model.predict(texts)


TEXTS = [f"w{i}" for i in range(8)]
BAD = [
    (lambda: fishpal.Task.from_lists(TEXTS, [0, 1]), "8 texts and 2 labels; allowed: as many"),
    (lambda: fishpal.Task.from_lists(TEXTS, [0, 1] * 4, ["a"]), "8 texts and 1 groups"),
    (lambda: fishpal.Task.from_lists(TEXTS, [0, 1] * 4, group="author"), "no column 'author'"),
    (lambda: fishpal.Task.from_lists([*TEXTS[1:], None], [0, 1] * 4), "row 8 is no text"),
    (lambda: fishpal.Task.from_lists([*TEXTS[1:], " "], [0, 1] * 4), "row 8 is empty text"),
    (lambda: fishpal.Task.from_lists(TEXTS, [0, 1] * 3 + [None, 0]), "row 7 is"),
    (lambda: fishpal.Task.from_lists(TEXTS, [0] * 8), "all labels are 0; allowed: two"),
    (lambda: fishpal.Task.from_lists(TEXTS, [0, 1] * 4, classes=[0, 2]), "row 2 and 3 more rows"),
    (lambda: fishpal.Task.from_lists(TEXTS, [0, 1] * 4, max_length=1), "max_length is 1"),
    (lambda: fishpal.Task.from_lists(TEXTS, [0, 1] * 4, selection=2.0), "selection is 2.0"),
    (lambda: fishpal.Task.from_lists(TEXTS, [0, 1] * 4, name="a/b"), "name is 'a/b'"),
    (lambda: fishpal.Task.from_lists([*TEXTS[1:], ("a", "b")], [0, 1] * 4), "row 1 is 'w1'"),
    (lambda: fishpal.Task.from_frame(pd.DataFrame({"x": TEXTS}), "text"), "text"),
    (lambda: fishpal.Task.from_dataset({"train": TEXTS}), "dataset is dict; allowed: one split"),
    (lambda: fishpal.Task.from_lists(TEXTS, list("abcdefgh"), regression=True), "finite numbers"),
    (lambda: fishpal.load_encoder("no such/folder"), "a folder that exists"),
]


@pytest.mark.parametrize(("call", "words"), BAD, ids=[words for _, words in BAD])
def test_bad_input_is_one_line(call, words):
    with pytest.raises(fishpal.FishpalError) as caught:
        call()
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_bad_texts_and_tasks_are_named(encoder, task):
    model = fishpal.start(encoder, task, plan_of(encoder))
    with pytest.raises(fishpal.FishpalError, match=r"texts: row 2 is 0.5; allowed: texts"):
        model.predict(["w1", 0.5])
    other = fishpal.Task.from_lists(TEXTS, ["bad", "awful"] * 4)
    with pytest.raises(fishpal.FishpalError, match="has labels awful; allowed: bad, good"):
        model.evaluate(other)
    with pytest.raises(fishpal.FishpalError, match="too few|sizes.selection is"):
        fishpal.fit(encoder, fishpal.Task.from_lists(TEXTS, [0, 1] * 4))


def test_bars_are_for_those_who_look(monkeypatch, capsys):
    assert list(tqdm(range(3), disable=None)) == [0, 1, 2]
    assert capsys.readouterr().err == ""  # no terminal
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    assert list(tqdm(range(3), disable=None)) == [0, 1, 2]
    assert "3/3" in capsys.readouterr().err
    assert list(tqdm(range(3), disable=True)) == [0, 1, 2]
    assert capsys.readouterr().err == ""
