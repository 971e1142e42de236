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
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

from fishpal.cautions import cautions
from fishpal.config import parse_params
from fishpal.errors import PlanError
from fishpal.facts import EncoderFacts
from fishpal.files import write_csv, write_json
from fishpal.kinds import ModuleKind
from fishpal.markdown import escape
from fishpal.options import ReportOptions
from fishpal.plan import LayerScore, Plan, Reason
from fishpal.reporting import write_report
from fishpal.results import read_results
from fishpal.statistics import paired_difference

ROOT = Path(__file__).parents[1]
EVIL = "<script>alert(1)</script>|x\n# not a heading `[a](b)"
ENCODER = EncoderFacts("bert", layers=4, hidden=8, parameters=10_000)
METHODS = ("fishpal", "adapter", "lora")
KEPT = {"fishpal": 150, "adapter": 300, "lora": 40}
RIGHT = {"fishpal": 0.9, "adapter": 0.75, "lora": 0.7}
PLANS = {
    "fishpal": (ModuleKind.PREFIX, None, ModuleKind.LORA, ModuleKind.ADAPTER),
    "adapter": (ModuleKind.ADAPTER,) * 4,
    "lora": (ModuleKind.LORA,) * 4,
}


def make_params(seeds=(0, 1), tasks=("pairs", "closeness"), methods=METHODS):
    files = {"type": "files", "files": {"train": "a.csv", "test": "b.csv"}, "licence": EVIL}
    two = {"train": "a.csv", "matched": "b.csv", "mismatched": "c.csv"}
    split = {"selection": 10}
    pairs = {
        "source": files | {"files": two},
        "columns": {"text": ["one|two", "other"], "label": "y"},
        "labels": ["no", EVIL, "maybe"],
        "sizes": split,
        "metrics": ["accuracy", "macro_f1"],
        "headline": ["matched", "mismatched"],
    }
    closeness = {
        "source": files,
        "columns": {"text": ["text"], "label": "score"},
        "labels": None,
        "sizes": split,
        "metrics": ["pearson", "spearman"],
    }
    sections = ("tokenize", "modules", "head", "fisher", "select", "train", "evaluate")
    kinds = {"adapter": "adapter", "lora": "lora"}
    uniform = {name: {"rule": "uniform", "kind": kind} for name, kind in kinds.items()}
    return parse_params(
        {
            "grid": {"tasks": list(tasks), "methods": list(methods), "seeds": list(seeds)},
            "encoder": {"source": {"type": "folder", "folder": "/some/where/my_encoder"}},
            "catalog": {"pairs": pairs, "closeness": closeness},
            "methods": {"fishpal": {"rule": "criterion"}, "head": {"rule": "none"}} | uniform,
            "report": {"resamples": 200, "confidence": 0.9, "seed": 3},
        }
        | {name: {} for name in sections}
    )


def make_plan(task, method):
    if method != "fishpal":
        return Plan(task, method, ENCODER, PLANS[method], Reason("uniform"), kept=KEPT[method])
    scores = tuple(
        LayerScore(i, kind, {"prefix": 0.1 * i, "adapter": -2.5e-5, "lora": 300.0 + i})
        for i, kind in enumerate(PLANS[method])
    )
    reason = Reason("criterion", criterion="kernel", total=1.5, scores=scores)
    return Plan(task, method, ENCODER, PLANS[method], reason, kept=KEPT[method])


def make_predictions(task, method, seed, split):
    """Labels (n,), the same for every cell, and predictions (n,)."""
    n = {"matched": 90, "mismatched": 60, "test": 40}[split]
    truth = np.random.default_rng([n, 1])
    noise = np.random.default_rng([n, seed, METHODS.index(method)])
    if task == "closeness":
        labels = truth.normal(size=n)
        return labels, labels + (1.2 - RIGHT[method]) * noise.normal(size=n)
    labels = truth.integers(3, size=n)
    right = noise.random(n) < RIGHT[method]
    return labels, np.where(right, labels, noise.integers(3, size=n))


def score(metric, labels, predictions):
    if metric == "pearson":
        return float(stats.pearsonr(labels, predictions).statistic)
    if metric == "spearman":
        return float(stats.spearmanr(labels, predictions).statistic)
    if metric == "accuracy":
        return float(np.mean(labels == predictions))
    return 0.5


def write_cell(root, params, task, method, seed):
    splits, frames = {}, []
    for split in ["matched", "mismatched"] if task == "pairs" else ["test"]:
        labels, predictions = make_predictions(task, method, seed, split)
        names = params.task(task).metrics
        scores = {name: score(name, labels, predictions) for name in names}
        splits[split] = {"n": len(labels), "loss": 0.5 + seed / 10} | scores
        columns = {"split": [split] * len(labels), "row": range(len(labels))}
        frames.append(pa.table(columns | {"label": labels, "prediction": predictions}))
    numbers = {"trainable": KEPT[method] + 100, "kept": KEPT[method], "total": 10_000}
    numbers["total"] += KEPT[method]
    cell = f"{task}/{method}/{seed}"
    write_json(root / f"metrics/{cell}.json", {"splits": splits, "parameters": numbers})
    path = root / f"predictions/{cell}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.concat_tables(frames), path)
    losses = [1.1, 0.8 - 0.1 * METHODS.index(method), 0.6, 0.65 + 0.01 * seed]
    rows = [(40 * i, i, "" if i == 0 else 0.5, loss) for i, loss in enumerate(losses)]
    write_csv(root / f"curves/{cell}.csv", ("update", "epoch", "fit_loss", "selection_loss"), rows)
    write_json(root / f"seconds/train/{cell}.json", {"seconds": 10.0 + seed})


def make_card(task):
    regression = task == "closeness"
    names = ["no", EVIL, "maybe"]
    splits = ["train", "test"] if regression else ["train", "matched", "mismatched"]
    return {
        "task": task,
        "source": {"type": "files", "licence": EVIL},
        "columns": {"text": ["text"], "label": "y"},
        "labels": None if regression else names,
        "splits": {
            split: {"rows": 90, "labels": {} if regression else dict.fromkeys(names, 30)}
            for split in splits
        },
        "dropped": {"labels": 0, "duplicates": 0},
        "overlap": {f"train/{split}": 0 for split in splits[1:]},
        "conflicts": 0,
    }


@pytest.fixture
def run(tmp_path):
    """Params and the folder of artifacts: 2 tasks × 3 methods × 2 seeds."""
    params, root = make_params(), tmp_path / "artifacts"
    for task in params.grid.tasks:
        write_json(root / f"raw/{task}/card.json", make_card(task))
        parts = ["fit", "selection"] + (["test"] if task == "closeness" else ["matched"])
        counts = {part: {"rows": 200, "truncated": 2, "max_tokens": 50} for part in parts}
        write_json(root / f"tokens/{task}/counts.json", counts | {"removed_duplicates": 0})
        write_json(root / f"seconds/fisher/{task}.json", {"seconds": 3.25})
        for method in params.grid.methods:
            make_plan(task, method).save(root / f"plans/{task}/{method}.json")
            write_json(root / f"seconds/select/{task}/{method}.json", {"seconds": 1.0})
            for seed in params.grid.seeds:
                write_cell(root, params, task, method, seed)
    return params, root


def edit(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def report(run, folder):
    params, root = run
    write_report(folder, params, read_results(params, root))
    return (folder / "results.md").read_text()


def tree(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def rows_below(text, heading):
    """The cells of the first table below a heading, by the first column."""
    part = text[text.index(heading) :]
    lines = re.search(r"(\|.*\n)+", part)[0].splitlines()
    cells = [[c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    assert len({len(row) for row in cells}) == 1
    return {row[0].strip("`"): row[1:] for row in cells[2:]}


def test_writes_every_file_and_the_same_bytes_again(run, tmp_path):
    report(run, tmp_path / "first")
    report(run, tmp_path / "second")
    first, second = tree(tmp_path / "first"), tree(tmp_path / "second")
    names = {f"figures/{t}_{f}.png" for t in run[0].grid.tasks for f in FIGURES}
    names |= {"results.md", "metrics.json", "summary.csv", "curves.csv"}
    assert {str(name) for name in first} == names
    assert first == second
    report(run, tmp_path / "first")  # over what is there
    assert tree(tmp_path / "first") == second
    for name in first:
        if name.suffix == ".png":
            assert first[name].startswith(b"\x89PNG") and len(first[name]) > 5_000
            assert b"Software" not in first[name] and b"tIME" not in first[name]


FIGURES = ("scores", "curves", "parameters")


@pytest.mark.parametrize(
    ("task", "split", "metric"),
    [
        ("pairs", "matched", "accuracy"),
        ("pairs", "mismatched", "accuracy"),
        ("closeness", "test", "pearson"),
    ],
)
def test_comparison_equals_an_independent_computation(run, tmp_path, task, split, metric):
    text = report(run, tmp_path / "reports")
    text = text[text.index(f"## Task `{task}`") :]
    rows = rows_below(text, f"### {metric} on {split}")
    assert list(rows) == list(METHODS)
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


def test_intervals_are_those_of_the_bootstrap(run, tmp_path):
    text = report(run, tmp_path / "reports")
    arrays = {
        m: np.stack([make_predictions("pairs", m, s, "matched")[1] for s in (0, 1)])
        for m in METHODS
    }
    labels = make_predictions("pairs", "lora", 0, "matched")[0]
    best = max(("adapter", "lora"), key=lambda m: float(np.mean(arrays[m] == labels)))

    def accuracy(y, p, classes):
        return float(np.mean(y == p))

    options = vars(ReportOptions(resamples=200, confidence=0.9, seed=3))
    found = paired_difference(accuracy, labels, arrays["fishpal"], arrays[best], 3, **options)
    expected = f"{found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
    assert expected in rows_below(text, "### accuracy on matched")["fishpal"][1]


def test_machine_readable_files(run, tmp_path):
    report(run, tmp_path / "reports")
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
    assert list(rows[0]) == ["task", "method", "seed", "update", "selection_loss"]
    assert len(rows) == 2 * 3 * 2 * 4
    assert rows[1] | {"task": 0} == {
        "task": 0,
        "method": "fishpal",
        "seed": "0",
        "update": "40",
        "selection_loss": "0.8",
    }


def test_stale_cells_are_ignored(run, tmp_path):
    params, root = run
    narrow = make_params(methods=("fishpal", "lora"), tasks=("closeness",), seeds=(1,))
    full = report((narrow, root), tmp_path / "before")
    assert "adapter`" not in full and "pairs" not in full
    for stale in ["metrics/closeness/adapter", "raw/pairs", "plans/pairs"]:
        shutil.rmtree(root / stale)
    (root / "metrics/closeness/lora/0.json").write_text("broken")
    report((narrow, root), tmp_path / "after")
    assert tree(tmp_path / "before") == tree(tmp_path / "after")


def test_text_of_users_cannot_break_the_report(run, tmp_path):
    params, root = run

    def one_rare(card):
        card["splits"]["matched"]["labels"][EVIL] = 3

    edit(root / "raw/pairs/card.json", one_rare)
    text = report(run, tmp_path / "reports")
    assert "<script" not in text
    assert "&lt;script&gt;alert" in text
    assert "\n# not a heading" not in text
    assert text.count("# Results") == 1
    assert re.search(r"class &lt;script&gt;\S*\\\|x \\# not a heading \\`\\\[a\\\]", text)
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
        (change_card("conflicts", 4), "4 texts occur with two labels."),
        (make_rare, "class maybe has 0 examples in mismatched, fewer than 10."),
        (truncate, "1.5 % of the texts in fit are cut at `max_length`."),
        (constant_predictions, "`lora` is not above the majority class on matched"),
        (fall_to_the_end, "`fishpal`: the loss was lowest at the last evaluation in 1 of 2 seeds"),
    ],
)
def test_each_warning_appears_when_it_should(run, tmp_path, change, expected):
    before = found_cautions(run)
    change(run[1])
    new = [line for line in found_cautions(run) if line not in before]
    assert len(new) == 1
    assert expected in new[0]
    assert f"- {new[0]}\n" in report(run, tmp_path / "reports")


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
        report(run, tmp_path / "reports")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "reports").exists()


def test_metrics_of_other_predictions_are_refused(run, tmp_path):
    path = run[1] / "metrics/pairs/lora/1.json"
    edit(path, lambda data: data["splits"]["matched"].update(accuracy=0.123))
    with pytest.raises(PlanError, match=r"lora/1.json: splits.matched has .*accuracy 0.123"):
        report(run, tmp_path / "reports")


def test_cells_with_other_labels_are_refused(run, tmp_path):
    source = run[1] / "predictions/pairs/lora/1.parquet"
    table = pq.read_table(source)
    pq.write_table(table.slice(1), source)
    with pytest.raises(PlanError, match="lora/1.parquet: rows or labels are not those"):
        report(run, tmp_path / "reports")


def test_order_of_rows_in_a_file_does_not_matter(run, tmp_path):
    report(run, tmp_path / "first")
    path = run[1] / "predictions/pairs/lora/1.parquet"
    table = pq.read_table(path)
    pq.write_table(table.take(np.random.default_rng(0).permutation(len(table))), path)
    report(run, tmp_path / "second")
    assert tree(tmp_path / "first") == tree(tmp_path / "second")


def test_a_grid_without_single_kind_baseline(run, tmp_path):
    text = report((make_params(methods=("fishpal",)), run[1]), tmp_path / "reports")
    assert "no single-kind baseline" in text
    assert rows_below(text, "### accuracy on matched")["fishpal"][1] == "—"


def test_one_seed_has_no_standard_deviation(run, tmp_path):
    text = report((make_params(seeds=(1,)), run[1]), tmp_path / "reports")
    assert re.fullmatch(
        r"0\.\d{4} \(1 seed\)", rows_below(text, "### accuracy on matched")["lora"][0]
    )
    assert "_sd" not in (tmp_path / "reports/metrics.json").read_text()


def test_settings_of_the_user_do_not_change_figures(run, tmp_path):
    import matplotlib

    report(run, tmp_path / "first")
    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 20}):
        report(run, tmp_path / "second")
        assert matplotlib.rcParams["axes.facecolor"] == "red"
    assert tree(tmp_path / "first") == tree(tmp_path / "second")


def test_the_stage_needs_no_heavy_import():
    code = (
        "import stages.write_report, sys;"
        "heavy = {'torch', 'sklearn', 'scipy', 'evaluate', 'datasets', 'transformers', 'pandas',"
        " 'matplotlib.pyplot'};"
        "sys.exit(', '.join(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ, text=True)
    assert done.returncode == 0
