"""The study's pipeline, by the real `dvc` in a copy of the project: two toy tasks, tiny plans."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks.toy.clone import ENV
from benchmarks.toy.encoder import save_tokenizer, tiny_folder
from benchmarks.toy.project import YAML12, task_entry, write_task
from benchmarks.toy.warm import warm_bin
from tests.project.closure import ROOT

TASKS = ("toy", "other")
FILE = "studies/criteria/dvc.yaml"
PROVENANCE = ("code", "torch", "processor", "date")


class Study:
    """A copy of library, stages and study, with a study of a few seconds."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, root / "studies" / "criteria"

    @classmethod
    def toy(cls, root: Path) -> Study:
        leave = ("__pycache__", "artifacts", "results", "data", "dvc.lock", "tmp", "cache")
        for name in ("fishpal", "stages", "studies", ".dvc"):
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns(*leave))
        for name in (".dvcignore", ".gitignore"):
            shutil.copy2(ROOT / name, root / name)
        made = cls(root)
        data = made.folder / "data"
        tiny_folder("bert", data / "encoder")
        save_tokenizer(data / "encoder")
        for seed, task in enumerate(TASKS):
            write_task(data / task, seed)
        made.edit("params.yaml", cls._params)
        made.edit("study.yaml", cls._study)
        made.git("init", "-q")
        return made

    @staticmethod
    def _params(params: dict[str, Any]) -> None:
        params["grid"]["tasks"] = list(TASKS)
        params["encoder"]["source"] = {"type": "folder", "folder": "data/encoder"}
        params["catalog"] = {name: task_entry(name) for name in TASKS}
        params["train"] |= {"batch_size": 8, "precision": "float32"}
        params["modules"]["adapter"]["bottleneck"] = 8

    @staticmethod
    def _study(study: dict[str, Any]) -> None:
        study["study"] |= {"sizes": [16], "updates": 2, "evaluations": 1, "leads": {}}
        study["study"]["mixes"] |= {"uniform": 2, "stratified": 1}
        study["halving"]["rungs"] = [1]
        study["sweep"] |= {"tasks": ["toy"], "size": 16, "seeds": [0], "updates": []}
        study["sweep"]["rates"] = {kind: [1e-3] for kind in ("head", "prefix", "adapter", "lora")}
        study["probe"]["updates"] = 1
        ways = [{"one_shot": False, "updates": 1}, {"one_shot": True, "updates": 2}]
        study["shared"] = {"ways": ways, "seeds": [0]}
        study["budget"] |= {"shares": [0.25], "draws": 1}
        study["chosen"] = [
            {"share": None, "top_layers": None},
            {"share": 0.25, "top_layers": 1},
        ]

    def edit(self, name: str, change: Any) -> None:
        path = self.folder / name
        values = YAML12.load(path.read_text())
        change(values)
        with path.open("w") as file:
            YAML12.dump(values, file)

    def git(self, *command: str) -> None:
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        subprocess.run(["git", *identity, *command], cwd=self.root, check=True, capture_output=True)

    def dvc(self, *command: str) -> str:
        """As the Makefile calls it: at the top of the project."""
        env = ENV | {"PATH": f"{warm_bin()}:{ENV['PATH']}"}
        env |= {"DVC_SITE_CACHE_DIR": str(self.root / ".dvc" / "tmp" / "site")}
        done = subprocess.run(
            [warm_bin() / "python", "-m", "dvc", *command], cwd=self.root, env=env,
            capture_output=True, text=True, timeout=500,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def repro(self, *targets: str) -> set[str]:
        """Reproduce all, or what the targets say; the stages that really ran."""
        output = self.dvc("repro", *(targets or [FILE]))
        return set(re.findall(rf"Running stage '{FILE}:([^']+)'", output))

    def path(self, group: str) -> Path:
        return self.folder / "results" / f"{group}.jsonl"

    def lines(self, group: str) -> list[dict[str, Any]]:
        return [json.loads(row) for row in self.path(group).read_text().splitlines()]

    def results(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.folder / "results").iterdir()}

    def report(self) -> str:
        return (self.root / "reports" / "study.md").read_text()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    made = Study.toy(tmp_path_factory.mktemp("study"))
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # each worker would have to load torch
    try:
        made.repro()
    finally:
        os.sched_setaffinity(0, cores)
    made.git("add", "-A")
    made.git("commit", "-q", "-m", "the study")
    return made


def test_the_study_leaves_sorted_lines_predictions_and_a_report(study):
    plans = study.lines("plans")
    # head, three uniform plans and three mixes, of two tasks and seeds
    assert len(plans) == 7 * 2 * 2
    assert [line["task"] for line in plans] == sorted(line["task"] for line in plans)
    apart = pd.read_parquet(study.folder / "results" / "predictions.parquet").set_index("key")
    for line in plans:
        assert all(line[name] for name in PROVENANCE)
        row = apart.loc[line["key"]]
        right = [p == y for p, y in zip(row.predictions, row.labels, strict=True)]
        assert line["score"] == pytest.approx(sum(right) / len(right))
    shared = study.lines("shared")
    assert [(line["task"], line["mode"]) for line in shared] == [
        (task, mode) for task in sorted(TASKS) for mode in ("joint", "one_shot")
    ]
    assert all(len(values) == len(e["plans"]) for e in shared for values in e["scores"].values())
    assert set(apart.index) == {
        line["key"] for group in ("plans", "budget", "chosen") for line in study.lines(group)
    }
    text = study.report()
    assert "{{" not in text
    assert "nan" not in text
    assert "No line was made by other code" in text


def test_a_clone_without_rows_is_up_to_date(study, tmp_path):
    study.git("clone", "-q", str(study.root), str(tmp_path / "clone"))
    clone = Study(tmp_path / "clone")
    assert not (clone.folder / "data").exists()
    assert not (clone.folder / "artifacts").exists()
    assert "up to date" in clone.dvc("status")
    assert clone.repro() == set()


def test_changed_code_makes_no_line_again_but_is_warned_about(study):
    edited = study.root / "fishpal" / "training" / "train.py"
    source, before = edited.read_bytes(), study.results()
    edited.write_bytes(source + b"# another comment\n")
    try:
        assert study.repro("-s", f"{FILE}:report") == {"report"}
    finally:
        edited.write_bytes(source)
    assert study.results() == before
    count = len(study.lines("plans"))
    assert f"the code has changed since {count:,} lines of `plans` were made" in study.report()
    assert "lines of `signals`" not in study.report()  # which training does not touch


def test_a_deleted_line_and_a_new_seed_are_what_is_trained(study):
    before, others = study.lines("plans"), study.results()
    (lost,) = (
        line
        for line in before
        if (line["task"], line.get("kind"), line["seed"]) == ("toy", "lora", 1)
    )
    rows = study.path("plans").read_text().splitlines(keepends=True)
    rows.pop(before.index(lost))
    study.path("plans").write_text("".join(rows))
    study.edit("study.yaml", lambda values: values["study"].update(seeds=[0, 1, 2]))
    assert study.repro("-s", f"{FILE}:train") == {"train"}
    new = study.path("plans").read_text().splitlines(keepends=True)
    assert [row for row in new if row in rows] == rows
    made = [json.loads(row) for row in new if row not in rows]
    assert len(made) == 1 + 7 * 2
    (again,) = (line for line in made if line["seed"] == 1)
    assert again | {"seconds": 0} == lost | {"seconds": 0}
    assert all(line["seed"] == 2 for line in made if line != again)
    groups = ("halving", "probe", "selected", "shared", "signals", "sweep")
    untouched = {f"{group}.jsonl" for group in groups}
    assert {name for name, content in study.results().items() if others[name] == content} == (
        untouched
    )
