"""Sentences and small tables of the report that say how methods were trained, on what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fishpal.params.catalog import Split
from fishpal.reporting.grid import read_results
from fishpal.reporting.prose import data_line, introduction
from fishpal.reporting.recipe import length_line, recipe
from fishpal.reporting.write import legend
from tests.reporting.artifact_tree import edit


def results_of(run):
    return read_results(*run)


def test_rates_are_those_of_the_plans_after_a_race(run):
    """Which may have found another one than the kind's own."""
    edit(
        run[1] / "plans/pairs/lora.json",
        lambda plan: plan["learning_rate"].update(lora=0.746),
    )
    text = recipe(results_of(run)[0])
    (row,) = [line for line in text.splitlines() if line.startswith("| `lora`")]
    assert "| 0.746 |" in row
    assert "as params.yaml gives them" not in text


@pytest.mark.parametrize(
    ("source", "flat", "said"),
    [
        ("pilot", True, "until they were dropped, the last one until its loss was flat."),
        ("pilot", False, "until they were dropped, the rest to the end."),
        ("updates", True, "until they were dropped, the rest to the end."),
    ],
)
def test_how_a_pilot_ended(run, source, flat, said):
    edit(run[1] / "pilot/pairs.json", lambda pilot: pilot.update(source=source, flat=flat))
    assert said in length_line(results_of(run)[0])


def test_trainings_that_patience_ended_are_no_whole_ones(run):
    updates = results_of(run)[0].methods[0].cells[0].curve.updates[-1]
    edit(run[1] / "pilot/pairs.json", lambda pilot: pilot.update(updates=updates + 1))
    shorter = length_line(results_of(run)[0])
    assert f"is trained for at most {updates + 1} updates" in shorter
    assert f"`train.patience` ended trainings after {updates} to {updates}." in shorter


def test_groups_are_said_to_be_apart_where_they_are(run):
    results = results_of(run)[1]
    columns = replace(results.task.columns, group="author")
    given = replace(results, task=replace(results.task, columns=columns))
    assert "Rows of one author stand in fit or in selection alone." in data_line(given)
    cut = replace(
        results.task.source,
        files={"train": "a.csv"},
        split=Split({"train": 0.5, "test": 0.5}, "film"),
    )
    cut_by = replace(results, task=replace(results.task, source=cut))
    assert "Rows of one film stand in one part alone." in data_line(cut_by)


def test_a_head_that_is_not_trained_is_not_calibrated(run):
    params, tasks = run[0], results_of(run)
    assert "checkpoints are picked and calibrated on" in introduction(params, tasks)
    frozen = replace(params, train=replace(params.train, train_head=False))
    assert "checkpoints are picked on" in introduction(frozen, tasks)


def test_machines_are_those_of_all_tasks(run):
    edit(run[1] / "seconds/train/closeness/lora/1.json", lambda note: note.update(device="a GPU"))
    assert "Trained on an unknown one, a GPU." in introduction(run[0], results_of(run))


def test_the_legend_has_the_letters_of_the_plans(run):
    edit(run[1] / "plans/pairs/lora.json", lambda plan: plan.update(layers=["bias", "ia3"] * 2))
    first, second = map(legend, results_of(run))
    most = "`P` prefix, `A` adapter, `L` LoRA"
    assert first == f"{most}, `B` bias, `I` (IA)³, `·` none; layers from the input to the output."
    assert second == f"{most}, `·` none; layers from the input to the output."
