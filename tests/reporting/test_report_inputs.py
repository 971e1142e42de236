"""What the report says of, and does with, questionable and damaged artifacts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fishpal.common.errors import PlanError
from fishpal.reporting.cautions import cautions
from fishpal.reporting.grid import read_results
from tests.reporting.artifact_tree import (
    METHODS,
    edit,
    make_params,
    text_of,
    write,
    write_cell,
)


def found_cautions(run):
    return cautions(read_results(*run))


def test_a_sound_run_has_no_warning(run):
    params, root = run
    three = make_params(seeds=(0, 1, 2))
    for task in params.grid.tasks:
        for method in METHODS:
            write_cell(root, params, task, method, 2)
    assert found_cautions((three, root)) == []
    assert found_cautions(run) == [
        "2 seeds, fewer than 3: the intervals hold little of the variance between seeds and are"
        " too narrow."
    ]


def change_card(key, value):
    def change(root):
        edit(root / "raw/pairs/card.json", lambda card: card.update({key: value}))

    return change


def make_rare(root):
    path = root / "raw/pairs/card.json"
    edit(path, lambda card: card["splits"]["mismatched"]["labels"].pop("maybe"))


def truncate(root):
    path = root / "tokens/closeness/counts.json"
    edit(path, lambda counts: counts["fit"].update(truncated=3))


def constant_predictions(root):
    for seed in (0, 1):
        path = root / f"predictions/pairs/lora/{seed}.parquet"
        table = pq.read_table(path)
        labels = table["label"].to_numpy()
        matched = np.array(table["split"].to_pylist()) == "matched"
        constant = np.bincount(labels[matched]).argmax()
        predictions = np.where(matched, constant, table["prediction"].to_numpy())
        table = table.set_column(3, "prediction", pa.array(predictions))
        pq.write_table(table, path)
        share = float(np.mean(labels[matched] == constant))

        def change(metrics, share=share):
            metrics["splits"]["matched"]["accuracy"] = share

        edit(root / f"metrics/pairs/lora/{seed}.json", change)


def fall_to_the_end(root):
    path = root / "curves/closeness/fishpal/1.csv"
    path.write_text(path.read_text().replace("0.66", "0.59"))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (change_card("overlap", {"train/matched": 2}), "2 examples are in both train and matched."),
        (change_card("overlap", {"train/matched": 1}), "1 example is in both train and matched."),
        (change_card("conflicts", 4), "4 texts of the raw table occur with two labels or more."),
        (make_rare, "class maybe has 0 examples in mismatched, fewer than 10."),
        (truncate, "1.5 % of the texts in fit are cut at `max_length`."),
        (constant_predictions, "`lora` is not above the majority class on matched"),
        (
            fall_to_the_end,
            "the loss was lowest at the last evaluation for `fishpal` (1 of 2 seeds); longer",
        ),
    ],
)
def test_each_warning_appears_when_it_should(run, change, expected):
    before = found_cautions(run)
    change(run[1])
    new = [line for line in found_cautions(run) if line not in before]
    assert len(new) == 1
    assert expected in new[0]
    assert f"- {new[0]}\n" in text_of(run)


NAMED_FILES = [
    "raw/pairs/card.json",
    "tokens/closeness/counts.json",
    "plans/pairs/lora.json",
    "metrics/pairs/lora/1.json",
    "predictions/closeness/fishpal/0.parquet",
    "curves/pairs/adapter/0.csv",
    "seconds/fisher/pairs.json",
    "seconds/select/pairs/fishpal.json",
    "seconds/train/closeness/lora/0.json",
]


@pytest.mark.parametrize("name", NAMED_FILES)
@pytest.mark.parametrize("damage", ["missing", "cut", "empty", "other", "folder"])
def test_a_damaged_file_is_named(run, tmp_path, name, damage):
    path = run[1] / name
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        other = {"cut": content[: len(content) // 2], "empty": b"", "other": b'{"a": [1]}'}
        path.write_bytes(other[damage])
    with pytest.raises(PlanError) as caught:
        write(run, tmp_path / "reports")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "reports").exists()


def test_metrics_of_other_predictions_are_refused(run, tmp_path):
    path = run[1] / "metrics/pairs/lora/1.json"
    edit(path, lambda data: data["splits"]["matched"].update(accuracy=0.123))
    with pytest.raises(PlanError, match=r"lora/1.json: splits.matched has .*accuracy 0.123"):
        write(run, tmp_path / "reports")


def test_cells_with_other_labels_are_refused(run, tmp_path):
    source = run[1] / "predictions/pairs/lora/1.parquet"
    table = pq.read_table(source)
    pq.write_table(table.slice(1), source)
    with pytest.raises(PlanError, match="lora/1.parquet: rows or labels are not those"):
        write(run, tmp_path / "reports")
