"""What the report says of, and does with, questionable and damaged artifacts."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fishpal.common.errors import PlanError
from fishpal.common.kinds import CriterionName, ModuleKind
from fishpal.params.agreement import unread
from fishpal.params.methods import ByCriterion, Random, Uniform
from fishpal.params.options import RateOptions, SelectOptions
from fishpal.params.race_options import RaceOptions
from fishpal.reporting.cautions import cautions
from fishpal.reporting.grid import read_results
from tests.reporting.artifact_tree import (
    METHODS,
    SEVEN,
    edit,
    keep_start,
    make_params,
    make_run,
    text_of,
    write,
    write_cell,
)


def found_cautions(run):
    return cautions(run[0], read_results(*run))


def test_a_sound_run_has_no_warning(run):
    params, root = run
    three = make_params(seeds=(0, 1, 2))
    for task in params.grid.tasks:
        for method in METHODS:
            write_cell(root, params, task, method, 2)
    assert found_cautions((three, root)) == []
    assert found_cautions(run) == [
        "2 seeds, fewer than 3: how much seeds differ is guessed from two, and intervals are wide"
        " where they do."
    ]


def change_card(key, value):
    def change(root):
        edit(root / "raw/pairs/card.json", lambda card: card.update({key: value}))

    return change


def make_rare(root):
    path = root / "tokens/pairs/counts.json"
    edit(path, lambda counts: counts["fit"].update(labels=[120, 71, 9]))


def put_a_label_far_off(root):
    path = root / "tokens/closeness/counts.json"
    edit(path, lambda counts: counts["selection"].update(far=-999.0))


def truncate(root):
    path = root / "tokens/closeness/counts.json"
    edit(path, lambda counts: counts["fit"].update(truncated=3))


def forget_words(root):
    path = root / "tokens/closeness/counts.json"
    edit(path, lambda counts: counts["fit"].update(unread=2))


def constant_predictions(root):
    for seed in (0, 1):
        path = root / f"evaluated/pairs/lora/{seed}/predictions.parquet"
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

        edit(root / f"evaluated/pairs/lora/{seed}/metrics.json", change)


def fall_to_the_end(root):
    edit(root / "pilot/closeness.json", lambda pilot: pilot.update(source="updates"))
    path = root / "curves/closeness/fishpal/1.csv"
    path.write_text(path.read_text().replace("0.66", "0.59"))


def collapse(root, seeds=(1,), share=1.2):
    """Losses of those seeds of a method at this share of the constant answer's, and more."""
    floor = json.loads((root / "pilot/pairs.json").read_text())["constant_loss"]
    for seed in seeds:
        path = root / f"curves/pairs/lora/{seed}.csv"
        rows = [row.split(",") for row in path.read_text().splitlines()]
        for number, row in enumerate(rows[1:]):
            row[4] = str(floor * (share + 0.03 - 0.01 * number))
        path.write_text("".join(",".join(row) + "\n" for row in rows))


def mark_a_collapse(root):
    path = root / "curves/pairs/adapter/0.csv"
    start, first, *rest = path.read_text().splitlines(keepends=True)[1:]
    header = path.read_text().splitlines(keepends=True)[0]
    path.write_text("".join([header, start, first.rstrip()[:-1] + "1\n", *rest]))


def end_a_pilot_early(root):
    edit(root / "pilot/pairs.json", lambda pilot: pilot.update(flat=False))


def learn_nothing(root):
    end_a_pilot_early(root)
    edit(root / "pilot/pairs.json", lambda pilot: pilot.update(constant_loss=0.3))


def rise_from_the_start(root):
    """But the last look is kept, as `refined` may."""
    path = root / "curves/closeness/fishpal/1.csv"
    header, *rows = (line.split(",") for line in path.read_text().splitlines())
    for number, row in enumerate(rows):
        row[4] = str(0.5 + number / 100)
    path.write_text("".join(",".join(row) + "\n" for row in [header, *rows]))


def keep_starts(root):
    keep_start((None, root), "pairs", ["lora"])
    keep_start((None, root), "pairs", ["adapter"], seeds=(1,))


def far_predictions(root):
    """In another unit: the order is kept, and so is the correlation."""
    path = root / "evaluated/closeness/lora/1/predictions.parquet"
    table = pq.read_table(path)
    far = table["prediction"].to_numpy() + 3
    pq.write_table(table.set_column(3, "prediction", pa.array(far)), path)


def train_elsewhere(root):
    edit(root / "seconds/train/pairs/adapter/0.json", lambda note: note.update(device="a GPU"))


@pytest.mark.parametrize(
    ("change", "title", "detail"),
    [
        (
            change_card("overlap", {"train/matched": 2, "train/mismatched": 1}),
            "Texts that stand in two splits",
            "`pairs` 2 texts in train and matched, 1 text in train and mismatched",
        ),
        (
            change_card("conflicts", 4),
            "Texts of the raw table with two labels or more",
            "`pairs` 4 texts",
        ),
        (make_rare, "Classes with fewer than 10 examples", "`pairs` maybe (9 in fit)"),
        (
            put_a_label_far_off,
            "Labels more than 10 standard deviations from fit's mean",
            "`closeness` -999 in selection",
        ),
        (truncate, "Texts cut at `max_length`", "`closeness` 1.5 % of fit"),
        (forget_words, "Texts in which the tokenizer knows nothing", "`closeness` 2 of 200 in fit"),
        (
            constant_predictions,
            "Not better than the majority class",
            "`pairs` `lora` 0.5778 against",
        ),
        (far_predictions, "or than the mean prediction", "`closeness` `lora` "),
        (
            keep_starts,
            "Kept the untrained start, as no update lowered the selection loss",
            "`pairs` `adapter` (1 of 2 seeds), `lora`",
        ),
        (
            fall_to_the_end,
            "Lowest loss at the last evaluation, so that longer training may help",
            "`closeness` `fishpal` (1 of 2 seeds)",
        ),
        (
            collapse,
            "Learnt next to nothing, unlike the method's other seeds",
            "`pairs` `lora` (1 of 2 seeds)",
        ),
        (
            mark_a_collapse,
            "Collapsed on the way (answered all examples alike)",
            "`pairs` `adapter` (1 of 2 seeds)",
        ),
        (
            end_a_pilot_early,
            "The pilot's loss was still falling at its end, `train.max_updates`",
            "`pairs` at 64 updates",
        ),
        (
            train_elsewhere,
            "Trained on machines of several kinds",
            "11 cells on an unknown one, 1 cell on a GPU",
        ),
        (
            learn_nothing,
            "The pilot's arms learnt nothing that shows, and trainings are as long as it was",
            "`pairs` in 64 updates",
        ),
        (
            rise_from_the_start,
            "No update lowered the selection loss, of which the kept one is not shown to be above"
            " the start's",
            "`closeness` `fishpal` (1 of 2 seeds)",
        ),
    ],
)
def test_each_warning_appears_when_it_should(run, change, title, detail):
    before = found_cautions(run)
    change(run[1])
    new = [line for line in found_cautions(run) if line not in before]
    assert len(new) == 1
    assert title in new[0] and f": {detail}" in new[0]
    assert f"- {new[0]}\n" in text_of(run)


def test_heads_that_are_not_trained_are_named(run):
    params, root = run
    train = replace(params.train, train_head=False)
    (line,) = set(found_cautions((replace(params, train=train), root))) - {*found_cautions(run)}
    assert line.startswith("`train.train_head` is false: heads stay at their start")


def test_options_that_no_method_reads_are_named(run):
    params, root = run
    select = SelectOptions(criterion=CriterionName.KERNEL, budget=0.01)
    uniform = {name: Uniform(kind=ModuleKind.LORA) for name in params.grid.methods}
    given = replace(params, select=select, methods=uniform)
    said = "`select.criterion`, `select.budget`: set, and no method of the grid reads it."
    assert said in found_cautions((given, root))
    first = params.grid.methods[0]
    for reader, left in ((Random(), ["criterion"]), (ByCriterion(), [])):
        assert unread([*uniform.values(), reader], select) == left
        with_it = replace(given, methods=uniform | {first: reader})
        assert any("no method" in line for line in found_cautions((with_it, root))) == bool(left)
    assert unread([ByCriterion(criterion=CriterionName.SNR)], select) == ["criterion"]


@pytest.mark.parametrize(("seeds", "share"), [((0, 1), 1.2), ((1,), 0.9), ((0,), 0.94)])
def test_seeds_that_learnt_a_little_or_all_nothing_are_no_collapse(run, seeds, share):
    """Another seed has to be far better; here it is at 0.955 of the constant answer in the last."""
    if seeds == (0,):
        collapse(run[1], (1,), 0.955)
    collapse(run[1], seeds, share)
    assert not any("Learnt next to nothing" in line for line in found_cautions(run))


def test_warnings_of_seven_tasks_are_a_line_a_kind(tmp_path):
    params, root = make_run(tmp_path, tasks=SEVEN, seeds=(0,))
    for task in SEVEN:
        edit(
            root / f"raw/{task}/card.json",
            lambda card: card.update(conflicts=1, overlap={"a/b": 2}),
        )
        edit(root / f"tokens/{task}/counts.json", lambda c: c["fit"].update(truncated=9))
        keep_start((params, root), task, METHODS, seeds=(0,))
    lines = found_cautions((params, root))
    assert len(lines) == 5
    assert all(f"`{task}`" in line for line in lines[1:] for task in SEVEN)
    assert lines[-1].endswith("; ".join(f"`{task}` all methods" for task in SEVEN) + ".")


def test_many_rare_classes_are_not_all_named(run):
    names = [f"c{i}" for i in range(40)]
    change_card("labels", names)(run[1])
    counts = run[1] / "tokens/pairs/counts.json"
    edit(counts, lambda found: found["fit"].update(labels=[1] * 40))
    (line,) = [line for line in found_cautions(run) if line.startswith("Classes")]
    assert line.count("(1 in fit)") == 6 and line.endswith("and 34 more.")


@pytest.mark.parametrize(
    ("rates", "criteria", "seconds"),
    [(0.1, [], 7.5), ("auto", [], 11.75), (0.1, ["snr"], 11.75)],
)
def test_a_race_cost_what_was_measured_for_it(run, rates, criteria, seconds):
    edit(run[1] / "plans/pairs/fishpal.json", lambda plan: plan.update(reason={"rule": "race"}))
    kinds = dict.fromkeys(("prefix", "adapter", "lora"), rates)
    train = replace(
        run[0].train, learning_rate=RateOptions(**kinds), race=RaceOptions(criteria=tuple(criteria))
    )
    results = read_results(replace(run[0], train=train), run[1])
    (found,) = [m for m in results[0].methods if m.name == "fishpal"]
    assert found.selection_seconds == seconds


NAMED_FILES = [
    "raw/pairs/card.json",
    "tokens/closeness/counts.json",
    "plans/pairs/lora.json",
    "evaluated/pairs/lora/1/metrics.json",
    "evaluated/closeness/fishpal/0/predictions.parquet",
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
    path = run[1] / "evaluated/pairs/lora/1/metrics.json"
    edit(path, lambda data: data["splits"]["matched"].update(accuracy=0.123))
    with pytest.raises(PlanError, match=r"1/metrics.json: splits.matched has .*accuracy 0.123"):
        write(run, tmp_path / "reports")


def test_cells_of_other_splits_than_the_tokens_are_refused(run, tmp_path):
    edit(run[1] / "tokens/pairs/counts.json", lambda counts: counts.update(late=counts["matched"]))
    said = r"pairs/fishpal/0/predictions.parquet: rows are .*; allowed: those of the tokens, .*late"
    with pytest.raises(PlanError, match=said):
        write(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_cells_with_other_labels_are_refused(run, tmp_path):
    source = run[1] / "evaluated/pairs/lora/1/predictions.parquet"
    table = pq.read_table(source)
    pq.write_table(table.slice(1), source)
    with pytest.raises(PlanError, match="lora/1/predictions.parquet: rows or labels are not those"):
        write(run, tmp_path / "reports")


@pytest.mark.parametrize(
    ("named", "line"),
    [
        ({}, None),
        ({"precision": "bfloat16", "evaluated": "bfloat16"}, "Trained and evaluated in bfloat16."),
        ({"precision": "bfloat16"}, "Trained in bfloat16 and float32, evaluated in float32."),
    ],
)
def test_precisions_are_named(run, named, line):
    params, root = run
    for path in sorted((root / "evaluated/pairs").rglob("metrics.json")):
        if "evaluated" in named or "lora" in str(path):
            edit(path, lambda metrics: metrics.update(named))
    text = text_of(run)
    assert (" in bfloat16" in text) == (line is not None)
    assert line is None or line in text


@pytest.mark.parametrize(
    ("pick", "word"), [("refined", "picked and calibrated"), ("loss", "picked")]
)
def test_it_is_said_how_checkpoints_are_picked(run, pick, word):
    params, root = run
    params = replace(params, train=replace(params.train, pick=pick))
    assert f"checkpoints are {word} on the selection part" in text_of((params, root))
