"""A small tree of artifacts by hand: a classification with two headline splits, a regression."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import stats

from fishpal.common.files import write_csv, write_json
from fishpal.common.kinds import ModuleKind
from fishpal.params.load import parse_params
from fishpal.records.facts import EncoderFacts
from fishpal.records.pilot import Arm, Pilot
from fishpal.records.plan import LayerScore, Plan, Reason
from fishpal.records.results import CurvePoint
from fishpal.reporting.comparison import TaskReport
from fishpal.reporting.grid import read_results
from fishpal.reporting.write import report_text, write_report

EVIL = "<script>alert(1)</script>|x\n# not a heading `[a](b)"
ENCODER = EncoderFacts("bert", layers=4, hidden=8, parameters=10_000)
METHODS = ("fishpal", "adapter", "lora")
FIVE = (*METHODS, "prefix", "head")
KEPT = {"fishpal": 150, "adapter": 300, "lora": 40, "prefix": 60, "head": 20}
RIGHT = {"fishpal": 0.9, "adapter": 0.75, "lora": 0.7, "prefix": 0.72, "head": 0.2}
PLANS = {
    "fishpal": (ModuleKind.PREFIX, None, ModuleKind.LORA, ModuleKind.ADAPTER),
    "adapter": (ModuleKind.ADAPTER,) * 4,
    "lora": (ModuleKind.LORA,) * 4,
    "prefix": (ModuleKind.PREFIX,) * 4,
    "head": (None,) * 4,
}
ROWS = {"matched": 90, "mismatched": 60, "test": 40}  # of evaluation splits
TASKS = ("pairs", "closeness")  # names that begin with closeness are regressions
SEVEN = (*TASKS, "pairs_b", "closeness_b", "pairs_c", "pairs_d", "closeness_c")


def make_params(seeds=(0, 1), tasks=TASKS, methods=METHODS):
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
    uniform = {kind.value: {"rule": "uniform", "kind": kind.value} for kind in ModuleKind}
    return parse_params(
        {
            "grid": {"tasks": list(tasks), "methods": list(methods), "seeds": list(seeds)},
            "encoder": {"source": {"type": "folder", "folder": "/some/where/my_encoder"}},
            "catalog": {task: closeness if is_regression(task) else pairs for task in tasks},
            "methods": {"fishpal": {"rule": "criterion"}, "head": {"rule": "none"}} | uniform,
            "report": {"resamples": 200, "confidence": 0.9, "seed": 3},
        }
        | {name: {} for name in sections}
    )


def is_regression(task):
    return task.startswith("closeness")


def make_pilot():
    """Two arms, the second dropped at its first look."""
    losses = {ModuleKind.LORA: (0.7, 0.5, 0.4), ModuleKind.ADAPTER: (0.7, 0.6)}
    arms = [
        Arm(
            kind,
            0.01,
            tuple(CurvePoint(32 * n, n, None, 2, loss, True) for n, loss in enumerate(curve)),
        )
        for kind, curve in losses.items()
    ]
    return Pilot(64, "pilot", 0.6931, tuple(arms))


def make_plan(task, method):
    if method != "fishpal":
        reason = Reason("none" if method == "head" else "uniform")
        return Plan(task, method, ENCODER, PLANS[method], reason, kept=KEPT[method])
    scores = tuple(
        LayerScore(i, kind, {"prefix": 0.1 * i, "adapter": -2.5e-5, "lora": 300.0 + i})
        for i, kind in enumerate(PLANS[method])
    )
    reason = Reason("criterion", criterion="kernel", total=1.5, scores=scores)
    return Plan(task, method, ENCODER, PLANS[method], reason, kept=KEPT[method])


def make_predictions(task, method, seed, split):
    """Labels (n,), the same for every cell, and predictions (n,)."""
    n = ROWS[split]
    number = 0 if task in TASKS else (*SEVEN, task).index(task)
    truth = np.random.default_rng([n, 1, number] if number else [n, 1])
    noise = np.random.default_rng([n, seed, list(KEPT).index(method)])
    if is_regression(task):
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
    for split in ["test"] if is_regression(task) else ["matched", "mismatched"]:
        labels, predictions = make_predictions(task, method, seed, split)
        names = params.task(task).metrics
        scores = {name: score(name, labels, predictions) for name in names}
        splits[split] = {"n": len(labels), "loss": 0.5 + seed / 10} | scores
        columns = {"split": [split] * len(labels), "row": range(len(labels))}
        frames.append(pa.table(columns | {"label": labels, "prediction": predictions}))
    numbers = {"trainable": KEPT[method] + 100, "kept": KEPT[method], "total": 10_000}
    numbers["total"] += KEPT[method]
    cell = f"{task}/{method}/{seed}"
    write_json(root / f"evaluated/{cell}/metrics.json", {"splits": splits, "parameters": numbers})
    path = root / f"evaluated/{cell}/predictions.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.concat_tables(frames), path)
    losses = [1.1, 0.8 - 0.1 * list(KEPT).index(method), 0.6, 0.65 + 0.01 * seed]
    rows = [
        (40 * i, i, "" if i == 0 else 0.5, 2.0, loss, int(loss <= min(losses)), 0)
        for i, loss in enumerate(losses)
    ]
    columns = ("update", "epoch", "fit_loss", "selection_loss", "pick_loss", "kept", "collapsed")
    write_csv(root / f"curves/{cell}.csv", columns, rows)
    write_json(root / f"seconds/train/{cell}.json", {"seconds": 10.0 + seed})


def make_card(task):
    regression = is_regression(task)
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


def make_run(root, **grid):
    """Params, and the folder of artifacts filled: 2 tasks × 3 methods × 2 seeds, or that grid."""
    params = make_params(**grid)
    for task in params.grid.tasks:
        write_json(root / f"raw/{task}/card.json", make_card(task))
        splits = ["test"] if is_regression(task) else ["matched", "mismatched"]
        rows = {"fit": 200, "selection": 200} | {split: ROWS[split] for split in splits}
        counts = {
            split: {"rows": n, "truncated": n // 100, "max_tokens": 50} for split, n in rows.items()
        }
        write_json(root / f"tokens/{task}/counts.json", counts | {"removed_duplicates": 0})
        write_json(root / f"seconds/fisher/{task}.json", {"seconds": 3.25})
        write_json(root / f"seconds/pilot/{task}.json", {"seconds": 7.5})
        make_pilot().save(root / f"pilot/{task}.json")
        for method in params.grid.methods:
            make_plan(task, method).save(root / f"plans/{task}/{method}.json")
            write_json(root / f"seconds/select/{task}/{method}.json", {"seconds": 1.0})
            for seed in params.grid.seeds:
                write_cell(root, params, task, method, seed)
    return params, root


def keep_start(run, task, methods, seeds=(0, 1), loss=2.0):
    """As training leaves it where no update lowers the loss on the selection part."""
    for method in methods:
        for seed in seeds:
            path = run[1] / f"curves/{task}/{method}/{seed}.csv"
            header, _, *later = path.read_text().splitlines()
            rows = [header, f"0,0,,{loss},{loss},1,0", *(row[:-3] + "0,0" for row in later)]
            path.write_text("\n".join(rows) + "\n")


def share_plan(run, method, other, task="pairs"):
    """As the pipeline leaves it where a method's plan comes out as another's."""
    path = run[1] / f"plans/{task}/{{}}.json"
    plan, shared = (Plan.load(str(path).format(name)) for name in (method, other))
    replace(shared, method=method, reason=plan.reason).save(str(path).format(method))
    for kind in ("evaluated", "curves"):
        shutil.rmtree(run[1] / kind / task / method)
        shutil.copytree(run[1] / kind / task / other, run[1] / kind / task / method)


def edit(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def write(run, folder):
    params, root = run
    write_report(folder, params, read_results(params, root))
    return tree(folder)


def text_of(run):
    params, _ = run
    return report_text(params, reports_of(run))


def reports_of(run):
    params, root = run
    return [TaskReport.of(results, params.report) for results in read_results(params, root)]


def tree(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def rows_below(text, heading):
    """The cells of the first table below a heading, by the first column."""
    part = text[text.index(heading) :]
    lines = re.search(r"(\|.*\n)+", part)[0].splitlines()
    cells = [[c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    assert len({len(row) for row in cells}) == 1
    return {row[0].strip("`"): row[1:] for row in cells[2:]}
