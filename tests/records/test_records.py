"""Every written format: what is saved is loaded again, and lies where dvc.yaml says."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from fishpal.common.errors import FishpalError, PlanError
from fishpal.common.kinds import Site
from fishpal.common.validate import decode
from fishpal.params.module_options import LoraOptions, ModuleOptions, PrefixOptions
from fishpal.records.card import Card, Counts, SplitCard, SplitCounts
from fishpal.records.facts import TaskFacts
from fishpal.records.paths import Artifacts
from fishpal.records.results import (
    CellMetrics,
    Curve,
    CurvePoint,
    Parameters,
    Predictions,
    Seconds,
)
from tests.project.closure import ROOT

CARD = Card(
    task="t",
    source={"type": "files", "files": {"train": "a.csv"}},
    columns={"text": ["a", "b"], "label": "y"},
    labels=("no", "yes"),
    splits={"train": SplitCard(3, {"no": 1, "yes": 2}), "test": SplitCard(2)},
    dropped={"labels": 1},
    overlap={"train/test": 0},
    conflicts=4,
)
COUNTS = Counts({"fit": SplitCounts(9, 1, 12), "test": SplitCounts(2, 0, 7)}, 3)
METRICS = CellMetrics({"test": {"n": 2, "loss": 0.1 + 0.2, "f1": 1.0}}, Parameters(1, 2, 3))
CURVE = Curve(
    (CurvePoint(0, 0.0, None, 0.7, 0.6, True), CurvePoint(5, 0.25, 0.5, 1 / 3, 0.25, False, True))
)


@pytest.mark.parametrize("record", [CARD, COUNTS, METRICS, CURVE, Seconds(1.25)], ids=repr)
def test_what_is_saved_is_loaded(tmp_path, record):
    record.save(tmp_path / "file")
    assert type(record).load(tmp_path / "file") == record


def test_the_layout_of_the_files(tmp_path):
    """As other programs read them, DVC among them."""
    COUNTS.save(tmp_path / "counts")
    data = json.loads((tmp_path / "counts").read_text())
    assert list(data) == ["fit", "test", "removed_duplicates"]
    assert data["fit"] == {"rows": 9, "truncated": 1, "max_tokens": 12}
    METRICS.save(tmp_path / "metrics")
    assert '"n": 2,' in (tmp_path / "metrics").read_text()
    CURVE.save(tmp_path / "curve")
    assert (tmp_path / "curve").read_text() == (
        "update,epoch,fit_loss,selection_loss,pick_loss,kept,collapsed\n0,0,,0.7,0.6,1,0\n"
        "5,0.25,0.5,0.3333333333333333,0.25,0,1\n"
    )


def test_options_of_older_files_keep_their_bytes():
    """What came later is written where it is used alone."""
    plain = ModuleOptions()
    assert list(plain.to_json()["lora"]) == ["rank", "alpha", "dropout"]
    assert list(plain.to_json()["prefix"]) == ["length", "reparameterize", "mid", "std"]
    text = ModuleOptions(prefix=PrefixOptions(start="text"))
    assert decode(ModuleOptions, json.loads(json.dumps(text.to_json())), "file") == text
    for lora in (
        LoraOptions(),
        LoraOptions(sites="all", rslora=True, rate_ratio=16.0),
        LoraOptions(sites=(Site.DOWN, Site.KEY)),
    ):
        options = ModuleOptions(lora=lora)
        written = json.loads(json.dumps(options.to_json()))
        assert decode(ModuleOptions, written, "file") == options


def test_predictions_are_loaded_by_split_and_row(tmp_path):
    labels = {"b": np.array([1, 0, 1]), "a": np.array([0])}
    found = {"b": np.array([1, 1, 1]), "a": np.array([1])}
    Predictions(labels, found).save(tmp_path / "p.parquet")
    frame = pd.read_parquet(tmp_path / "p.parquet")
    assert list(frame.columns) == ["row", "label", "prediction", "split"]
    assert frame["row"].tolist() == [0, 1, 2, 0] and frame["split"].tolist() == [*"bbba"]
    frame.iloc[::-1].to_parquet(tmp_path / "p.parquet", index=False)
    loaded = Predictions.load(tmp_path / "p.parquet")
    assert list(loaded.labels) == list(loaded.predictions) == ["a", "b"]
    for split in "ab":
        assert loaded.labels[split].tolist() == labels[split].tolist()
        assert loaded.predictions[split].tolist() == found[split].tolist()


@pytest.mark.parametrize(
    ("kept", "best"),
    [((True, True, True), 20), ((True, False, False), 0), ((True, True, False), 10)],
)
def test_the_best_update_is_the_last_whose_weights_were_kept(kept, best):
    points = (CurvePoint(10 * i, i, None, 0.5, 0.5, each) for i, each in enumerate(kept))
    assert Curve(tuple(points)).best_update == best


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("0,0,,1,0.7,1,0\n0,1,0.5,1,0.6,0,0", "row 2: allowed: rising updates"),
        ("-1,0,,1,0.7,1,0", "row 1: allowed: rising updates"),
        ("0,0,,1,nan,1,0", "row 1: allowed: rising updates and finite losses"),
        ("0,0,inf,1,0.7,1,0", "row 1: allowed"),
        ("0,0,,1,x,1,0", "row 1: could not convert"),
        ("0,0,,1,0.7,0,0", "kept is 0 in every row"),
        ("0,0,,0.7", "row 1: not enough values"),
        (f"{'9' * 400},0,,1,0.7,1,0", "row 1: allowed"),
    ],
)
def test_a_wrong_row_of_a_curve_is_named(tmp_path, rows, message):
    path = tmp_path / "curve.csv"
    path.write_text(f"update,epoch,fit_loss,selection_loss,pick_loss,kept,collapsed\n{rows}\n")
    with pytest.raises(PlanError, match=message) as caught:
        Curve.load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_paths_are_those_of_dvc_yaml():
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
    fill = {"${item.task}": "t", "${item.method}": "m", "${item.seed}": "3"}
    outputs = set()
    for stage in stages.values():
        for out in stage.get("outs", []):
            (out,) = [out] if isinstance(out, str) else out
            for name, value in fill.items():
                out = out.replace(name, value)
            outputs.add(out)
    paths, cell = Artifacts(), ("t", "m", 3)
    known = [paths.encoder, paths.raw("t"), paths.tokens("t"), paths.fisher("t"), paths.grams("t")]
    known += [paths.pilot("t"), paths.seconds("pilot", "t")]
    known += [paths.plan("t", "m"), paths.trained(*cell), paths.curve(*cell)]
    known += [paths.source("encoder"), paths.source("catalog.t")]
    known += [paths.code(name) for name in ("base", "train", "evaluate")]
    (evaluated,) = {paths.metrics(*cell).parent, paths.predictions(*cell).parent}
    known += [evaluated, paths.seconds("fisher", "t")]
    known += [paths.seconds("select", "t", "m"), paths.seconds("train", *cell)]
    assert {str(path) for path in known} == outputs
    assert str(paths.checkpoint(*cell)) == "artifacts/checkpoints/t/m/3.safetensors"


def test_classes_have_names_of_their_own():
    with pytest.raises(FishpalError, match="each once"):
        TaskFacts("toy", ("a", "b", "a"), 0)
