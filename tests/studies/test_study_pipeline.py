"""The study's own pipeline, by the real `dvc` in a temporary clone: two toy tasks, tiny plans."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.toy.project import YAML12, task_entry, write_encoder, write_task
from tests.project.closure import ROOT

TASKS = ("toy", "other")


class Study:
    """A copy of library, stages and study, with a study of a few seconds."""

    def __init__(self, root: Path) -> None:
        for name in ("fishpal", "stages", "studies"):
            ignore = shutil.ignore_patterns(
                "__pycache__",
                "artifacts",
                "cells",
                "signals",
                "data",
                "dvc.lock",
                "results.csv",
                "tmp",
            )
            shutil.copytree(ROOT / name, root / name, ignore=ignore)
        self.folder = root / "studies" / "criteria"
        data = self.folder / "data"
        write_encoder(data / "encoder")
        for seed, task in enumerate(TASKS):
            write_task(data / task, seed)
        self.edit("params.yaml", self._params)
        self.edit("study.yaml", self._study)
        subprocess.run(["git", "init", "-q"], cwd=root, check=True, capture_output=True)

    @staticmethod
    def _params(params: dict) -> None:  # type: ignore[type-arg]
        params["grid"]["tasks"] = list(TASKS)
        params["encoder"]["source"] = {"type": "folder", "folder": "data/encoder"}
        params["catalog"] = {name: task_entry(name) for name in TASKS}
        params["fisher"]["examples"] = 16
        params["train"]["batch_size"] = 8
        params["modules"]["adapter"]["bottleneck"] = 8

    @staticmethod
    def _study(study: dict) -> None:  # type: ignore[type-arg]
        study["study"] |= {"sizes": [32], "updates": 8, "evaluations": 2, "leads": {}}
        study["study"]["mixes"] |= {"uniform": 2, "stratified": 1}
        study["halving"]["rungs"] = [1, 2]
        study["sweep"] |= {"tasks": ["toy"], "size": 32, "updates": [4]}
        study["sweep"]["rates"] = {kind: [1e-3] for kind in ("head", "prefix", "adapter", "lora")}
        study["probe"]["updates"] = 1
        study["budget"] |= {"shares": [0.25], "draws": 1}
        study["chosen"] = {
            "free": {"share": None, "top_layers": None},
            "b25_top": {"share": 0.25, "top_layers": 1},
        }

    def edit(self, name: str, change) -> None:  # type: ignore[no-untyped-def]
        path = self.folder / name
        values = YAML12.load(path.read_text())
        change(values)
        with path.open("w") as file:
            YAML12.dump(values, file)

    def repro(self, *targets: str) -> set[str]:
        """Reproduce all, or what the targets need; the stages that really ran."""
        env = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        env |= {"TOKENIZERS_PARALLELISM": "false"}
        done = subprocess.run(
            [sys.executable, "-m", "dvc", "repro", *targets], cwd=self.folder, env=env,
            capture_output=True, text=True, timeout=800,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return set(re.findall(r"Running stage '([^']+)'", done.stdout))

    def cells(self) -> dict[str, float]:
        """Cell → when it was written."""
        found = sorted((self.folder / "cells").rglob("*.json"))
        return {str(path.relative_to(self.folder)): path.stat().st_mtime for path in found}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    made = Study(tmp_path_factory.mktemp("study"))
    made.repro()
    return made


def test_the_study_leaves_cells_a_tidy_table_and_a_report(study):
    results = pd.read_csv(study.folder / "results.csv")
    # head, three uniform plans and three mixes, of two tasks and seeds
    assert len(results) == 7 * 2 * 2
    assert set(results.task) == set(TASKS)
    assert results.layers.str.fullmatch("[PAL-]+").all()
    for row in results.itertuples():
        cell = json.loads(
            (study.folder / f"cells/plans/{row.task}/32/{row.plan}-{row.seed}.json").read_text()
        )
        predicted = [int(digit) for digit in cell["predictions"]]
        labels = json.loads((study.folder / f"signals/{row.task}/32.json").read_text())["labels"]
        right = [p == int(y) for p, y in zip(predicted, labels, strict=True)]
        assert row.score == pytest.approx(sum(right) / len(right))
    report = (study.folder / "../../reports/study.md").read_text()
    assert "{{" not in report
    assert "nan" not in report


def test_a_second_run_is_a_no_op_and_a_deleted_cell_is_the_one_that_is_trained(study):
    assert study.repro() == set()
    before = study.cells()
    lost = "cells/plans/toy/32/lora-1.json"
    content = json.loads((study.folder / lost).read_text())
    (study.folder / lost).unlink()
    ran = study.repro()
    assert "train@toy-32" in ran
    assert ran <= {"train@toy-32", "report"}  # no report where even the seconds came out the same
    after = study.cells()
    assert {name for name in after if after[name] != before[name]} == {lost}
    again = json.loads((study.folder / lost).read_text())
    assert again | {"seconds": 0} == content | {"seconds": 0}


def test_a_new_seed_trains_only_itself(study):
    before = study.cells()
    study.edit("study.yaml", lambda values: values["study"].update(seeds=[0, 1, 2]))
    assert study.repro("train@toy-32") == {"train@toy-32"}
    after = study.cells()
    assert all(after[name] == before[name] for name in before)
    new = {name for name in after if name not in before}
    assert len(new) == 7
    assert all(name.startswith("cells/plans/toy/") and name.endswith("-2.json") for name in new)
