"""The real `dvc` in a temporary clone, with a tiny encoder and tiny `files` tasks.

One pipeline, driven step by step: each test changes one thing, asserts which stages ran, and goes
back. The tests of this file run in order.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertTokenizerFast

from tests.closure import ROOT
from tests.conftest import VOCAB, tiny_folder

METHODS = ("fishpal", "lora", "adapter")
SELECT = {f"select@toy-{m}" for m in METHODS}
YAML12 = YAML()


def words() -> list[str]:
    return ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *(f"w{i}" for i in range(VOCAB - 4))]


def save_tokenizer(folder: Path) -> None:
    """A word-level tokenizer over w0, w1, …"""
    vocabulary = {word: i for i, word in enumerate(words())}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )  # fmt: skip
    BertTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)


def write_task(folder: Path, seed: int) -> None:
    """JSON Lines whose label is decided by which words occur."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for split, count in (("train", 80), ("test", 30)):
        rows = []
        for _ in range(count):
            label = int(rng.integers(2))
            text = " ".join(f"w{int(i)}" for i in rng.integers(18 * label, 18 * label + 18, 5))
            rows.append(json.dumps({"sentence": text, "label": label}))
        (folder / f"{split}.jsonl").write_text("\n".join(rows) + "\n")


def task_entry(name: str) -> dict[str, object]:
    files = {split: f"data/{name}/{split}.jsonl" for split in ("train", "test")}
    return {
        "source": {"type": "files", "files": files},
        "columns": {"text": ["sentence"], "label": "label"},
        "labels": [0, 1],
        "sizes": {"fit": 40, "selection": 20, "evaluation": None},
        "metrics": ["accuracy", "f1"],
    }


class Clone:
    """A copy of the project with a pipeline of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in filter(None, names.split("\0")):
            if (ROOT / name).is_file() and name != "dvc.lock" and not name.startswith("reports/"):
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, root / name)
        tiny_folder("bert", root / "data" / "encoder")
        save_tokenizer(root / "data" / "encoder")
        write_task(root / "data" / "toy", seed=0)
        write_task(root / "data" / "other", seed=1)
        self.edit(self._small)
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "start"]):
            self.git(*command)

    @staticmethod
    def _small(params: dict) -> None:  # type: ignore[type-arg]
        params["grid"] = {"tasks": ["toy"], "methods": list(METHODS), "seeds": [0]}
        params["encoder"] = {
            "source": {"type": "folder", "folder": "data/encoder"},
            "pooling": "mean",
        }
        params["catalog"] = {name: task_entry(name) for name in ("toy", "other")}
        params["fisher"]["examples"] = 16
        params["train"] |= {"epochs": 1, "batch_size": 8}
        params["modules"]["adapter"]["bottleneck"] = 4
        params["report"]["resamples"] = 50

    def edit(self, change) -> None:  # type: ignore[no-untyped-def]
        path = self.root / "params.yaml"
        params = YAML12.load(path.read_text())
        change(params)
        with path.open("w") as file:
            YAML12.dump(params, file)

    def git(self, *command: str) -> None:
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        subprocess.run(["git", *identity, *command], cwd=self.root, check=True, capture_output=True)

    def dvc(self, *command: str, fails: bool = False) -> str:
        env = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        env |= {"TOKENIZERS_PARALLELISM": "false"}
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *command], cwd=self.root, env=env,
            capture_output=True, text=True, timeout=500,
        )  # fmt: skip
        assert (done.returncode != 0) == fails, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout + done.stderr if fails else done.stdout

    def repro(self) -> set[str]:
        """Reproduce; the stages that really ran."""
        return set(re.findall(r"Running stage '([^']+)'", self.dvc("repro")))

    @contextmanager
    def changed(self, change) -> Iterator[set[str]]:  # type: ignore[no-untyped-def]
        """Reproduce with a changed params.yaml; go back after the block."""
        before = (self.root / "params.yaml").read_bytes()
        self.edit(change)
        try:
            yield self.repro()
        finally:
            (self.root / "params.yaml").write_bytes(before)

    def plan(self, method: str = "fishpal", task: str = "toy") -> dict:  # type: ignore[type-arg]
        return json.loads((self.root / f"artifacts/plans/{task}/{method}.json").read_text())


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    made = Clone(tmp_path_factory.mktemp("clone"))
    made.ran_first = made.repro()  # type: ignore[attr-defined]
    made.git("add", "-A")
    made.git("commit", "-q", "-m", "first run")
    made.outputs = outputs(made.root)  # type: ignore[attr-defined]
    return made


def outputs(root: Path) -> dict[str, bytes]:
    """Every result but seconds and what shows them."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for folder in ("artifacts", "reports")
        for path in sorted((root / folder).rglob("*"))
        if path.is_file() and "seconds" not in path.parts and path.name != "results.md"
    }


def cells(*methods: str, seed: int = 0, task: str = "toy") -> set[str]:
    """Training and evaluation of these methods."""
    return {f"{stage}@{task}-{m}-{seed}" for stage in ("train", "evaluate") for m in methods}


def test_first_run_runs_everything_once(clone):
    single = {"encoder", "download@toy", "tokenize@toy", "fisher@toy", "report"}
    assert clone.ran_first == single | SELECT | cells(*METHODS)
    results = (clone.root / "reports" / "results.md").read_text()
    assert all(method in results for method in METHODS)
    metrics = json.loads((clone.root / "reports" / "metrics.json").read_text())
    assert set(metrics["toy"]) == set(METHODS)


def test_nothing_changed_nothing_runs(clone):
    assert clone.repro() == set()


def test_forced_rerun_gives_the_same_bytes(clone):
    clone.dvc("repro", "--force", "fisher@toy", "select@toy-fishpal", "train@toy-lora-0")
    clone.dvc("repro", "--force", "--single-item", "evaluate@toy-lora-0")
    assert outputs(clone.root) == clone.outputs
    assert clone.repro() <= {"report"}, "seconds may have come out otherwise, nothing else"


def test_learning_rate_reruns_the_plans_that_use_it(clone):
    def change(params):
        params["train"]["learning_rate"]["adapter"] = 0.002

    users = [m for m in METHODS if "adapter" in clone.plan(m)["layers"]]
    assert "lora" not in users
    with clone.changed(change) as ran:
        assert ran == SELECT | cells(*users) | {"report"}
    assert clone.repro() == set(), "going back reruns nothing"


def test_schedule_reruns_training_alone(clone):
    with clone.changed(lambda p: p["train"].update(weight_decay=0.2)) as ran:
        assert ran == cells(*METHODS) | {"report"}
    assert clone.repro() == set()
    assert outputs(clone.root) == clone.outputs


def test_a_kinds_size_reruns_its_users(clone):
    before = clone.plan()

    def change(params):
        params["modules"]["lora"]["rank"] = 4

    with clone.changed(change) as ran:
        users = ["lora"] + (["fishpal"] if clone.plan() != before else [])
        assert ran == {"fisher@toy", "report"} | SELECT | cells(*users)
    assert clone.repro() == set()


def test_fisher_examples_rerun_the_measured_plan_alone(clone):
    before = clone.plan()
    with clone.changed(lambda p: p["fisher"].update(examples=12)) as ran:
        users = ["fishpal"] if clone.plan() != before else []
        assert ran == {"fisher@toy", "report"} | SELECT | cells(*users)
    assert clone.repro() == set()


def test_criterion_reruns_selection(clone):
    with clone.changed(lambda p: p["select"].update(criterion="trace")) as ran:
        assert clone.plan()["reason"]["criterion"] == "trace"
        assert ran == SELECT | cells("fishpal") | {"report"}
    assert clone.repro() == set()


def test_one_methods_option_reruns_its_cells(clone):
    with clone.changed(lambda p: p["methods"]["fishpal"].update(criterion="mean")) as ran:
        assert ran == {"select@toy-fishpal", "report"} | cells("fishpal")
    assert clone.repro() == set()


def test_report_option_reruns_the_report(clone):
    with clone.changed(lambda p: p["report"].update(resamples=60)) as ran:
        assert ran == {"report"}
    assert clone.repro() == set()


def test_an_evaluation_size_reruns_evaluation(clone):
    def change(params):
        params["catalog"]["toy"]["sizes"]["evaluation"] = 20

    with clone.changed(change) as ran:
        evaluations = {f"evaluate@toy-{m}-0" for m in METHODS}
        assert ran == {"tokenize@toy", "report"} | evaluations
    assert clone.repro() == set()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fishpal/kernel.py", SELECT | {"report"}),
        ("fishpal/metric_classes.py", {f"evaluate@toy-{m}-0" for m in METHODS}),
        ("fishpal/figures.py", {"report"}),
    ],
)
def test_a_source_file_reruns_the_stages_that_import_it(clone, name, expected):
    path = clone.root / name
    before = path.read_text()
    path.write_text(before + "\n# a comment\n")
    ran = clone.repro()
    # Outputs come out the same, so nothing behind them runs; seconds may differ, and only the
    # report reads those.
    assert ran - {"report"} == expected - {"report"}
    path.write_text(before)
    assert clone.repro() == set()


def test_experiments_and_diffs_show_readable_names(clone):
    clone.dvc("exp", "run", "-S", "train.weight_decay=0.2", "--name", "decay")
    shown = clone.dvc("exp", "show", "--csv", "--drop", "artifacts|stages|fishpal/", "--no-pager")
    header = shown.splitlines()[0]
    assert "train.weight_decay" in header
    assert "toy.fishpal.test_accuracy" in header
    diff = clone.dvc("params", "diff", "--md")
    assert re.search(r"train\.weight_decay \| 0\.01 +\| 0\.2", diff), diff
    metrics = clone.dvc("metrics", "diff", "--all", "--md")
    assert "toy.lora.test_accuracy" in metrics
    plots = json.loads(clone.dvc("plots", "diff", "--json", "HEAD"))
    names = " ".join(plots.get("data", plots))
    assert {"reports/summary.csv", "reports/curves.csv"} <= set(names.split())
    clone.git("checkout", "-q", "--force", ".")
    clone.dvc("checkout")
    assert clone.repro() == set()


def test_a_new_seed_trains_its_cells(clone):
    with clone.changed(lambda p: p["grid"].update(seeds=[0, 1])) as ran:
        assert ran == cells(*METHODS, seed=1) | {"report"}
        metrics = json.loads((clone.root / "reports" / "metrics.json").read_text())
        assert "test_accuracy_sd" in metrics["toy"]["lora"], "two seeds have a spread"
    # Files of cells that left the grid stay, so the report looks at its folders once more.
    assert clone.repro() <= {"report"}
    assert outputs(clone.root).items() >= clone.outputs.items()


def test_a_new_task_runs_its_own_stages(clone):
    with clone.changed(lambda p: p["grid"].update(tasks=["toy", "other"])) as ran:
        own = {"download@other", "tokenize@other", "fisher@other"}
        own |= {f"select@other-{m}" for m in METHODS}
        assert ran == own | cells(*METHODS, task="other") | {"report"}
    assert clone.repro() <= {"report"}


def test_a_bad_value_is_one_clear_line_and_leaves_nothing(clone):
    clone.edit(lambda p: p["modules"]["lora"].update(rank=-1))
    try:
        said = clone.dvc("repro", fails=True)
    finally:
        clone.git("checkout", "-q", "params.yaml")
    assert "error: params.yaml: modules.lora.rank is -1; allowed" in said
    assert "Traceback" not in said
    assert not list(clone.root.glob("artifacts/**/.*"))
