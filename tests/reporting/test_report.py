"""The report, on a small tree of artifacts written by hand."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from fishpal.params.report_options import ReportOptions
from fishpal.reporting.bootstrap import Bootstrap, level_of_pairs
from fishpal.reporting.figures import draw_curves, draw_parameters, draw_scores
from fishpal.reporting.grid import read_results
from fishpal.reporting.markdown import escape
from fishpal.reporting.write import report_metrics
from tests.reporting.artifact_tree import (
    EVIL,
    KEPT,
    METHODS,
    edit,
    make_params,
    make_predictions,
    reports_of,
    rows_below,
    score,
    text_of,
    tree,
    write,
)

ROOT = Path(__file__).parents[2]


def test_writes_every_file_and_the_same_bytes_again(run, tmp_path):
    first, second = write(run, tmp_path / "first"), write(run, tmp_path / "second")
    names = {f"figures/{t}_{f}.png" for t in run[0].grid.tasks for f in FIGURES}
    names |= {"results.md", "results.html", "metrics.json", "summary.csv", "curves.csv"}
    assert {str(name) for name in first} == names
    assert first == second
    assert write(run, tmp_path / "first") == second  # over what is there
    for name in first:
        if name.suffix == ".png":
            assert first[name].startswith(b"\x89PNG") and len(first[name]) > 5_000
            assert b"Software" not in first[name] and b"tIME" not in first[name]


def test_nothing_is_written_beside_the_reports(run, tmp_path):
    """README's pictures stand in docs/pictures, whatever tasks come and go."""
    picture = tmp_path / "docs/pictures/pairs_scores.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"a picture")
    before = tree(tmp_path)
    write(run, tmp_path / "reports")
    write((make_params(tasks=("closeness",)), run[1]), tmp_path / "reports")
    after = {path: data for path, data in tree(tmp_path).items() if path.parts[0] != "reports"}
    assert after == before


FIGURES = ("scores", "curves", "parameters")


@pytest.mark.parametrize(
    ("task", "split", "metric"),
    [
        ("pairs", "matched", "accuracy"),
        ("pairs", "mismatched", "accuracy"),
        ("closeness", "test", "pearson"),
    ],
)
def test_comparison_equals_an_independent_computation(run, task, split, metric):
    text = text_of(run)
    text = text[text.index(f"## Task `{task}`") :]
    rows = rows_below(text, f"### {metric} on {split}")
    *methods, constant = rows
    assert methods == list(METHODS)
    labels = make_predictions(task, "lora", 0, split)[0]
    if task == "closeness":
        assert constant == "mean prediction" and rows[constant][0] == "0.0000"
    else:
        counts = np.bincount(labels)
        assert constant == f"constant answer “{['no', EVIL, 'maybe'][counts.argmax()]}”"
        assert rows[constant][0] == f"{counts.max() / len(labels):.4f}"
    assert set(rows.pop(constant)[1:]) == {"—"}
    scores = {
        m: [score(metric, *make_predictions(task, m, seed, split)) for seed in (0, 1)]
        for m in METHODS
    }
    best = max(("adapter", "lora"), key=lambda m: np.mean(scores[m]))
    for method, row in rows.items():
        mean, sd = np.mean(scores[method]), np.std(scores[method], ddof=1)
        assert row[0] == f"{mean:.4f} ± {sd:.4f} (2 seeds)"
        if method == best:
            assert row[1] == "—"
        else:
            found = [float(x) for x in re.findall(r"[+-]\d\.\d+", row[1])]
            assert found[0] == pytest.approx(mean - np.mean(scores[best]), abs=5e-5)
            assert found[1] <= found[0] <= found[2]
            assert row[1].startswith("**") == (found[1] > 0 or found[2] < 0)
            assert row[1].endswith("no difference shown") != row[1].startswith("**")
        kept = KEPT[method]
        assert row[2] == f"{kept + 100} ({(kept + 100) / 100:.2f} %)"
        assert row[3] == f"{kept} ({kept / 100:.2f} %)"
        assert row[4] == f"{10 + kept / 1000:.1f} K ({100 + kept / 100:.2f} %)"
        assert row[5:] == ["10.5", "4.2" if method == "fishpal" else "0"]
    assert f"The best single-kind baseline is `{best}`" in text


def test_intervals_are_those_of_the_bootstrap(run):
    text = text_of(run)
    arrays = {
        m: np.stack([make_predictions("pairs", m, s, "matched")[1] for s in (0, 1)])
        for m in METHODS
    }
    labels = make_predictions("pairs", "lora", 0, "matched")[0]
    best = max(("adapter", "lora"), key=lambda m: float(np.mean(arrays[m] == labels)))

    def accuracy(y, p, classes):
        return float(np.mean(y == p))

    options = ReportOptions(resamples=200, confidence=0.9, seed=3)
    bootstrap = Bootstrap(accuracy, labels, 3, options)
    scores = {name: bootstrap.score(rows) for name, rows in arrays.items()}
    found = scores["fishpal"].minus(scores[best], level_of_pairs([*scores.values()]))
    expected = f"{found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
    assert expected in rows_below(text, "### accuracy on matched")["fishpal"][1]


def test_machine_readable_files(run, tmp_path):
    write(run, tmp_path / "reports")
    metrics = json.loads((tmp_path / "reports/metrics.json").read_text())
    assert list(metrics) == ["pairs", "closeness"]
    assert list(metrics["pairs"]["lora"]) == [
        "matched_accuracy",
        "matched_accuracy_sd",
        "mismatched_accuracy",
        "mismatched_accuracy_sd",
        "kept",
    ]
    assert metrics["closeness"]["adapter"]["kept"] == 300
    assert "seconds" not in json.dumps(metrics)
    scores = [score("pearson", *make_predictions("closeness", "lora", s, "test")) for s in (0, 1)]
    assert metrics["closeness"]["lora"]["test_pearson"] == round(np.mean(scores), 6)
    with (tmp_path / "reports/summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["cell", "task", "method", "score", "kept"]
    assert [row["cell"] for row in rows][-1] == "closeness lora"
    assert len({row["cell"] for row in rows}) == len(rows) == 9
    assert float(rows[-1]["score"]) == metrics["closeness"]["lora"]["test_pearson"]
    with (tmp_path / "reports/curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["task", "method", "seed", "update", "pick_loss"]
    assert len(rows) == 2 * 3 * 2 * 4
    assert rows[1] | {"task": 0} == {
        "task": 0,
        "method": "fishpal",
        "seed": "0",
        "update": "40",
        "pick_loss": "0.8",
    }


def test_stale_cells_are_ignored(run, tmp_path):
    params, root = run
    narrow = make_params(methods=("fishpal", "lora"), tasks=("closeness",), seeds=(1,))
    before = write((narrow, root), tmp_path / "before")
    full = before[Path("results.md")].decode()
    assert "`adapter` (" not in full.split("### Length")[0] and "`pairs`" not in full
    for stale in ["evaluated/closeness/adapter", "raw/pairs", "plans/pairs"]:
        shutil.rmtree(root / stale)
    (root / "evaluated/closeness/lora/0/metrics.json").write_text("broken")
    assert write((narrow, root), tmp_path / "after") == before


def test_text_of_users_cannot_break_the_report(run):
    params, root = run

    def one_rare(counts):
        counts["matched"]["labels"] = [30, 3, 30]

    edit(root / "tokens/pairs/counts.json", one_rare)
    text = text_of(run)
    assert "<script" not in text
    assert "&lt;script&gt;alert" in text
    assert "\n# not a heading" not in text
    assert text.count("# Results") == 1
    assert re.search(r"Classes .*&lt;script&gt;\S*\\\|x \\# not a heading \\`\\\[a\\\]", text)
    assert "/some/where" not in text  # a path of the machine


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain-name_2.0", r"plain-name\_2.0"),
        ("a\r\n\tb\u2028c", "a b c"),
        ("\u202eevil\x00", "evil"),
        ("a|b", r"a\|b"),
        ("a\\|b", r"a\\\|b"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
        ("www.x.y https://z", r"www\.x.y https\://z"),
        ("x" * 200, "x" * 79 + "…"),
        (3, "3"),
    ],
)
def test_escape(value, expected):
    assert escape(value) == expected


def test_order_of_rows_in_a_file_does_not_matter(run):
    before = text_of(run)
    path = run[1] / "evaluated/pairs/lora/1/predictions.parquet"
    table = pq.read_table(path)
    pq.write_table(table.take(np.random.default_rng(0).permutation(len(table))), path)
    assert text_of(run) == before


def test_a_grid_without_single_kind_baseline(run):
    text = text_of((make_params(methods=("fishpal",)), run[1]))
    assert "no single-kind baseline" in text
    assert rows_below(text, "### accuracy on matched")["fishpal"][1] == "—"


def test_one_seed_has_no_standard_deviation(run):
    one = (make_params(seeds=(1,)), run[1])
    text = text_of(one)
    assert re.fullmatch(
        r"0\.\d{4} \(1 seed\)", rows_below(text, "### accuracy on matched")["lora"][0]
    )
    assert "_sd" not in json.dumps(report_metrics(read_results(*one)))


def test_settings_of_the_user_do_not_change_figures(run, tmp_path):
    import matplotlib

    results = reports_of(run)[1]
    for draw in (draw_scores, draw_curves, draw_parameters):
        draw(tmp_path / f"first/{draw.__name__}.png", results)
    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 20}):
        for draw in (draw_scores, draw_curves, draw_parameters):
            draw(tmp_path / f"second/{draw.__name__}.png", results)
        assert matplotlib.rcParams["axes.facecolor"] == "red"
    assert tree(tmp_path / "first") == tree(tmp_path / "second")


def test_the_stage_needs_no_heavy_import():
    code = (
        "import stages.write_report, sys;"
        "heavy = {'torch', 'sklearn', 'scipy', 'evaluate', 'datasets', 'transformers', 'pandas',"
        " 'matplotlib.pyplot'};"
        "found = heavy & set(sys.modules); assert not found, found"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ, text=True)
    assert done.returncode == 0


def compressed(run, kept, **asked):
    """As if adapters of the pairs had been made smaller, to these parameters by seed."""
    edit(run[1] / "plans/pairs/adapter.json", lambda plan: plan.update(asked))
    for seed, number in enumerate(kept):
        path = run[1] / f"evaluated/pairs/adapter/{seed}/metrics.json"
        edit(path, lambda cell: cell["parameters"].update(kept=number))  # noqa: B023


def test_what_is_compressed_says_so_and_is_no_baseline(run):
    best = "The best single-kind baseline is `adapter`"
    assert text_of(run).count(best) == 3  # of two splits of the pairs, and the regression
    compressed(run, [90, 45], margin=0.02)
    text = text_of(run)
    assert text.count(best) == 1
    said = "compressed once trained (margin 0.02): 90, 45 parameters kept, head included, by seed"
    assert f"- `adapter` (uniform): `A A A A`; {said}" in text
    assert rows_below(text, "### accuracy on matched")["adapter"][3].startswith("90 ")


def test_the_same_of_a_share(run):
    compressed(run, [70, 70], compress=0.25)
    said = "compressed once trained (0.25 of each kind): 70 parameters kept, head included\n"
    assert f"- `adapter` (uniform): `A A A A`; {said}" in text_of(run)
