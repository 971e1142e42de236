"""What the report makes of the methods: what learnt, what is best, what is the same."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fishpal.params.catalog import FilesTask, HubTask
from fishpal.params.sections import FolderEncoder
from fishpal.reporting.bootstrap import level_of_pairs
from tests.reporting.artifact_tree import (
    FIVE,
    SEVEN,
    edit,
    keep_start,
    make_predictions,
    make_run,
    reports_of,
    rows_below,
    score,
    share_plan,
    text_of,
)
from tests.reporting.test_page import page_of


def predict(run, method, predictions, task="closeness", metric="pearson"):
    """Give every seed of a method these predictions on test, and the metrics that follow."""
    for seed in run[0].grid.seeds:
        path = run[1] / f"evaluated/{task}/{method}/{seed}/predictions.parquet"
        table = pq.read_table(path)
        pq.write_table(table.set_column(3, "prediction", pa.array(predictions)), path)
        found = score(metric, table["label"].to_numpy(), predictions)
        change = {metric: 0.0 if np.isnan(found) else found}
        cell = run[1] / f"evaluated/{task}/{method}/{seed}/metrics.json"
        edit(cell, lambda data, change=change: data["splits"]["test"].update(change))


def verdict_of(run, place):
    """The overview's line of a task (and split)."""
    overview = text_of(run).split("## Overview")[1].split("## Warnings")[0]
    (line,) = re.findall(rf"^- {re.escape(place)}: (.*)$", overview, re.MULTILINE)
    return line


def test_the_overview_stands_first_and_holds_every_mean(five):
    text = text_of(five)
    headings = re.findall("^## (.*)$", text, re.MULTILINE)
    assert headings[:3] == ["Overview", "Warnings", "Task `pairs`"]
    rows = rows_below(text, "## Overview")
    assert list(rows) == ["pairs` matched: accuracy", "pairs` mismatched: accuracy",
                          "closeness`: pearson"]  # fmt: skip
    cells = [("pairs", "matched", "accuracy"), ("pairs", "mismatched", "accuracy"),
             ("closeness", "test", "pearson")]  # fmt: skip
    for row, (task, split, metric) in zip(rows.values(), cells, strict=True):
        means = [
            np.mean([score(metric, *make_predictions(task, m, s, split)) for s in (0, 1)])
            for m in FIVE
        ]
        found = [re.search(r"\d\.\d{4}", cell)[0] for cell in row]
        assert found[:5] == [f"{mean:.4f}" for mean in means]
        (bold,) = (name for name, cell in zip(FIVE, row, strict=False) if "**" in cell)
        assert means[FIVE.index(bold)] == max(means)


def test_ties_are_those_without_a_difference_to_the_best(five):
    for report in reports_of(five):
        for comparison in report.comparisons:
            best = comparison.scores[comparison.best]
            level = level_of_pairs([*comparison.scores.values()])
            for name, found in comparison.scores.items():
                shown = best.minus(found, level).excludes_zero
                assert (name in comparison.ties) == (name != comparison.best and not shown)
    row = rows_below(text_of(five), "## Overview")["pairs` mismatched: accuracy"]
    marks = {name: "≈" in cell for name, cell in zip(FIVE, row, strict=False)}
    assert marks == {name: name in reports_of(five)[0].comparisons[1].ties for name in FIVE}


def test_the_verdict_says_what_was_learnt_beyond_a_constant_and_beyond_the_head(five):
    assert verdict_of(five, "`pairs` matched").startswith(
        "Above the constant answer “maybe” (0.4222): 4 of 5 methods, not `head`; above `head`:"
        " all 4 others. Best is `fishpal`"
    )
    assert verdict_of(five, "`closeness`").startswith(
        "Above the mean prediction (0.0000): all 5 methods; above `head`: all 4 others. Best is"
    )
    parts = text_of(five).split("## Task ")
    assert verdict_of(five, "`closeness`") in parts[2].splitlines()[2], "the task's first line"
    assert parts[1].splitlines()[2] == f"- matched: {verdict_of(five, '`pairs` matched')}"
    overall = verdict_of(five, "Over all").split(". ")
    assert overall[0] == "something was learnt in 3 of 3 rows"
    assert overall[1].startswith("Best, or no difference to the best shown: `fishpal` 3, ")


@pytest.mark.filterwarnings("ignore:An input array is constant")
def test_where_no_method_beats_a_constant_nothing_is_compared(five):
    for method in FIVE:
        predict(five, method, np.full(40, 0.5))
    why = "no method is shown to be above the mean prediction (0.0000)."
    assert verdict_of(five, "`closeness`") == f"Nothing was learnt: {why}"
    text = text_of(five).split("## Task `closeness`")[1]
    assert f"The comparison compares nothing: {why}" in text
    rows = rows_below(text, "### pearson")
    assert {row[1] for row in rows.values()} == {"—"}
    row = rows_below(text_of(five), "## Overview")["closeness`: pearson"]
    assert row[:5] == ["*0.0000*"] * 5
    assert "something was learnt in 2 of 3 rows" in text_of(five)


def test_where_no_method_beats_the_head_the_comparison_is_greyed(five):
    labels, _ = make_predictions("closeness", "head", 0, "test")
    assert "Greyed" not in text_of(five) and 'class="greyed"' not in page_of(five)
    predict(five, "head", labels)
    text = text_of(five).split("## Task `closeness`")[1]
    assert "Greyed, since these differences say nothing of the methods: no method is" in text
    cells = [row[1] for row in rows_below(text, "### pearson").values()]
    assert sum(cell.startswith("*") and cell.endswith("]*") for cell in cells) == 4 - 1 + 1
    assert page_of(five).count('class="greyed"') == 1
    said = "above `head`: none of 4 others, so that comparing them says nothing."
    assert said in verdict_of(five, "`closeness`")


def test_cells_that_kept_their_start_are_marked_and_never_best(five):
    keep_start(five, "pairs", ["adapter"])
    keep_start(five, "pairs", ["prefix"], seeds=[1])
    text = text_of(five).split("## Task `closeness`")[0]
    assert "The best single-kind baseline is `adapter`." not in text
    rows = rows_below(text, "### accuracy on mismatched")  # where adapter has the best mean
    assert rows["adapter"][0].endswith("(2 seeds, untrained)")
    assert rows["prefix"][0].endswith("(2 seeds, 1 untrained)")
    assert rows["lora"][0].endswith("(2 seeds)")
    row = dict(
        zip(FIVE, rows_below(text, "## Overview")["pairs` mismatched: accuracy"], strict=False)
    )
    assert row["adapter"].endswith("* †") and "†" not in row["prefix"] + row["lora"]
    assert "not `adapter`, `head`" in verdict_of(five, "`pairs` mismatched")


def test_a_task_without_a_trained_cell_has_no_best(five):
    keep_start(five, "closeness", FIVE)
    assert (
        verdict_of(five, "`closeness`")
        == "Nothing was learnt: every method kept its untrained start."
    )
    text = text_of(five).split("## Task `closeness`")[1]
    assert "compares nothing: every method kept its untrained start." in text
    assert "**" not in text.split("### Plans")[0]


@pytest.mark.parametrize(("method", "loss", "says"), [
    ("head", 0.1, ""), ("head", 2.0, ", untrained"), ("lora", 0.1, ", untrained"),
])  # fmt: skip
def test_a_head_that_kept_the_probe_is_trained(five, method, loss, says):
    keep_start(five, "pairs", [method], loss=loss)
    rows = rows_below(text_of(five).split("## Task `closeness`")[0], "### accuracy on mismatched")
    assert rows[method][0].endswith(f"(2 seeds{says})")


def test_without_a_trained_baseline_others_are_still_ranked(five):
    keep_start(five, "closeness", ["adapter", "lora", "prefix"])
    text = text_of(five).split("## Task `closeness`")[1]
    assert "compares nothing: every single-kind baseline kept its untrained start." in text
    assert "Best is `fishpal`" in verdict_of(five, "`closeness`")


@pytest.mark.parametrize("other", ["adapter", "lora"])
def test_equal_plans_are_said_to_be_equal(five, other):
    share_plan(five, "fishpal", other)
    said = f"`fishpal`'s plan equals `{other}`."
    assert said in verdict_of(five, "`pairs` matched") and said not in verdict_of(
        five, "`closeness`"
    )
    text = text_of(five).split("## Task `closeness`")[0]
    assert re.search(rf"- `fishpal` \(criterion kernel\): `.*`, which equals `{other}`\n", text)
    for split in ("matched", "mismatched"):
        part = text[text.index(f"### accuracy on {split}") :]
        baseline = re.search(r"baseline is `(\w+)`", part)[1]
        shown = rows_below(part, "###")["fishpal"][1]
        assert (shown == f"its plan equals `{other}`") == (baseline == other)
    assert "+0.0000 [+0.0000, +0.0000]" not in text


def test_plans_that_training_would_tell_apart_are_not_equal(five):
    share_plan(five, "fishpal", "adapter")
    path = five[1] / "plans/pairs/fishpal.json"
    edit(path, lambda plan: plan["learning_rate"].update(adapter=0.5))
    assert "plan equals" not in text_of(five)


def test_seven_tasks_are_an_overview_of_a_row_each(tmp_path):
    run = make_run(tmp_path, tasks=SEVEN, seeds=(0,))
    overview = text_of(run).split("## Overview")[1].split("## Warnings")[0]
    assert len(rows_below("## Overview" + overview, "## Overview")) == 4 * 2 + 3
    lines = re.findall("^- (.*)$", overview, re.MULTILINE)
    assert len(lines) == 4 * 2 + 3 + 1 and all(len(line) < 320 for line in lines)
    found = re.search(r"`fishpal` against the best single kind: (.*)\.$", lines[-1])[1]
    assert sum(int(n) for n in re.findall(r"\d+", found)) == 11


def test_losses_are_named_for_what_they_are(five):
    pairs, closeness = text_of(five).split("## Task ")[1:]
    assert "The loss is cross-entropy in nats." in pairs
    assert "The loss is half the squared error of the standardised target." in closeness


def test_sources_are_told_apart_by_their_folder():
    files = {"train": "/home/me/rte/train.csv", "test": "cola/test.tsv"}
    task = FilesTask(type="files", files=files)
    assert task.describe() == "files rte/train.csv, cola/test.tsv"
    root = FilesTask(type="files", files={"train": "/train.csv", "test": "test.csv"})
    assert root.describe() == "files train.csv, test.csv"
    splits = {"train": "train", "test": "validation"}
    hub = HubTask(type="hub", path="nyu/glue", name="rte", revision="0a" * 20, splits=splits)
    assert hub.describe() == "nyu/glue rte at revision 0a0a0a0a"
    assert FolderEncoder(type="folder", folder="/home/me/model").describe() == "the folder model"


@pytest.mark.parametrize("how", ["auto", "joint", "compare"])
def test_a_task_says_whether_its_head_compares_two_texts(run, how):
    params, root = run
    params = replace(params, head=replace(params.head, pairs=how))
    pairs, closeness = text_of((params, root)).split("## Task ")[1:]
    assert (", which the head compares, label" in pairs) == (how == "compare")
    assert "which the head compares" not in closeness  # of single texts
