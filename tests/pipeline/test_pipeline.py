"""The real `dvc` in a temporary clone, with a tiny encoder and tiny `files` tasks.

One pipeline, driven step by step: each test changes one thing and asserts which stages ran. The
next test's run goes back from there: a stage that going back runs would stand in its exact set.
The tests of this file run in order.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest

from benchmarks.toy.clone import Clone, outputs
from benchmarks.toy.project import YAML12

METHODS = ("fishpal", "lora")  # a plan without LoRA, and one of nothing else
SELECT = {f"select@toy-{m}" for m in METHODS}
CODE = {f"code_{name}" for name in ("base", "train", "evaluate")}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    made = Clone(tmp_path_factory.mktemp("clone"))
    made.edit(lambda params: params["grid"].update(methods=list(METHODS)))
    made.ran_first = made.repro()  # type: ignore[attr-defined]
    made.git("add", "-A")
    made.git("commit", "-q", "-m", "first run")
    made.outputs = outputs(made.root)  # type: ignore[attr-defined]
    made.first_plan = made.plan()  # type: ignore[attr-defined]
    return made


def cells(*methods: str, seed: int = 0, task: str = "toy") -> set[str]:
    """Training and evaluation of these methods."""
    return {f"{stage}@{task}-{m}-{seed}" for stage in ("train", "evaluate") for m in methods}


def test_first_run_runs_everything_once(clone):
    single = {"hash_encoder", "encoder", "hash@toy", "download@toy", "tokenize@toy", "fisher@toy",
              "pilot@toy"}  # fmt: skip
    assert clone.ran_first == single | SELECT | cells(*METHODS) | CODE | {"report"}
    results = (clone.root / "reports" / "results.md").read_text()
    assert all(method in results for method in METHODS)
    metrics = json.loads((clone.root / "reports" / "metrics.json").read_text())
    assert set(metrics["toy"]) == set(METHODS)


def test_nothing_changed_nothing_runs(clone):
    assert clone.check() == ""
    assert clone.repro() == set()
    assert "up to date" in clone.dvc("status", "dvc.yaml")


def test_edited_data_are_read_again(clone):
    """Once the checks have seen them, plain `dvc` sees them, too."""
    path, noted = clone.root / "data/toy/train.jsonl", "artifacts/sources/catalog.toy.json"
    content = path.read_text()
    for edited in (content + '{"sentence": "w1 w2", "label": 1}\n', content.split("\n", 1)[1]):
        path.write_text(edited)
        said = clone.check()
        assert said == "data/toy/train.jsonl: changed; catalog.toy is read again\n"
        status = clone.dvc("status")
        assert "download@toy" in status and noted in status and "encoder" not in status
        assert clone.repro("tokenize@toy") == {"download@toy", "tokenize@toy"}
        assert clone.check() == ""
    path.write_text(content)
    assert "catalog.toy is read again" in clone.check()
    assert clone.repro() == set(), "the first rows' results come from the run cache"
    assert outputs(clone.root) == clone.outputs


def test_files_are_read_as_they_are_not_as_their_params_once_had_them(clone):
    """DVC's run cache knows params alone: what it holds under them may be of other bytes."""
    path = clone.root / "data/toy/train.jsonl"
    content, params = path.read_bytes(), (clone.root / "params.yaml").read_bytes()

    def rows() -> int:
        return json.loads((clone.root / "artifacts/raw/toy/card.json").read_text())["splits"][
            "train"
        ]["rows"]

    before = rows()
    clone.edit(lambda p: p["catalog"]["toy"]["source"].update(drop_duplicates=True))
    clone.repro("download@toy")
    path.write_bytes(content.split(b"\n", 1)[1])
    assert "catalog.toy is read again" in clone.check()
    clone.repro("download@toy")
    (clone.root / "params.yaml").write_bytes(params)
    assert clone.check() == ""
    clone.repro("download@toy")
    assert rows() == before - 1
    path.write_bytes(content)
    clone.check()
    clone.repro()
    assert outputs(clone.root) == clone.outputs


def test_data_that_went_away_stay_in_use(clone):
    """As in a clone on another machine; with one file of two gone, the stage says so."""
    data = clone.root / "data"
    data.rename(clone.root / "elsewhere")
    said = clone.check()
    noted = (clone.root / "artifacts/sources/catalog.toy.json").read_bytes()
    clone.dvc("repro", "--force", "--single-item", "hash@toy")
    assert (clone.root / "artifacts/sources/catalog.toy.json").read_bytes() == noted
    params = (clone.root / "params.yaml").read_bytes()
    files = {"train": "data/tain.jsonl", "test": "data/tst.jsonl"}
    clone.edit(lambda p: p["catalog"]["toy"]["source"].update(files=files))
    read = "data/toy/test.jsonl, data/toy/train.jsonl: changed; catalog.toy is read again\n"
    assert read in clone.check(), "what was read of other files is of no use"
    (clone.root / "params.yaml").write_bytes(params)
    (clone.root / "elsewhere").rename(data)
    assert said.count("not there; what was read of") == 2
    clone.check()
    assert "up to date" in clone.dvc("status", "dvc.yaml")
    (data / "toy" / "test.jsonl").rename(data / "test.jsonl")
    assert clone.check() == "data/toy/test.jsonl: changed; catalog.toy is read again\n"
    said = clone.dvc("repro", fails=True)
    (data / "test.jsonl").rename(data / "toy" / "test.jsonl")
    assert "error: data/toy/test.jsonl: cannot be read: No such file" in said
    clone.check()
    assert clone.repro() == set()


def test_forced_rerun_gives_the_same_bytes(clone):
    ran = clone.repro("--force", "select@toy-fishpal", "evaluate@toy-lora-0")
    assert {"fisher@toy", "select@toy-fishpal", "train@toy-lora-0", "evaluate@toy-lora-0"} <= ran
    assert outputs(clone.root) == clone.outputs, "seconds may have come out otherwise, nothing else"


def test_a_changed_cache_file_is_found_and_made_again(clone):
    """DVC itself would check it out without a word, since it is read-only."""
    lock = YAML12.load((clone.root / "dvc.lock").read_text())["stages"]["train@toy-lora-0"]
    trained = next(out for out in lock["outs"] if "trained" in out["path"])["md5"]
    cache = clone.root / ".dvc" / "cache" / "files" / "md5"
    listing = json.loads((cache / trained[:2] / trained[2:]).read_text())
    member = next(m["md5"] for m in listing if m["relpath"] == "modules.safetensors")
    path = cache / member[:2] / member[2:]
    content, mode = path.read_bytes(), path.stat().st_mode
    path.chmod(0o644)
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    path.chmod(mode)
    check = [sys.executable, "-m", "stages.checks.cache"]
    done = subprocess.run(check, cwd=clone.root, capture_output=True, text=True, check=True)
    assert str(path) in done.stderr and done.stderr.count("\n") == 1
    shutil.rmtree(clone.root / "artifacts" / "trained")
    assert "train@toy-lora-0" in clone.repro()
    assert path.read_bytes() == content
    assert outputs(clone.root) == clone.outputs
    done = subprocess.run(check, cwd=clone.root, capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_learning_rate_reruns_the_plans_that_use_it(clone):
    kind = clone.plan()["layers"][0]

    def change(params):
        params["train"]["learning_rate"][kind] = 0.002

    assert kind and kind not in clone.plan("lora")["layers"]
    with clone.changed(change) as ran:
        assert ran == {"pilot@toy"} | SELECT | cells("fishpal") | {"report"}
    assert clone.repro() == set(), "going back reruns nothing"


def test_schedule_reruns_training_alone(clone):
    with clone.changed(lambda p: p["train"].update(weight_decay=0.2)) as ran:
        # A method that keeps its untrained start has nothing new that could be evaluated.
        assert ran | cells("lora") == cells(*METHODS) | {"pilot@toy", "report"}
        assert "train@toy-lora-0" in ran


def test_a_kinds_size_reruns_its_users(clone):
    def change(params):
        params["modules"]["lora"]["rank"] = 4

    with clone.changed(change) as ran:
        users = ["lora"] + (["fishpal"] if clone.plan() != clone.first_plan else [])
        assert ran == {"fisher@toy", "pilot@toy", "report"} | SELECT | cells(*users)


def test_fisher_examples_rerun_the_measured_plan_alone(clone):
    with clone.changed(lambda p: p["fisher"].update(examples=12)) as ran:
        users = ["fishpal"] if clone.plan() != clone.first_plan else []
        assert ran == {"fisher@toy", "pilot@toy", "report"} | SELECT | cells(*users)


def test_criterion_reruns_selection(clone):
    with clone.changed(lambda p: p["select"].update(criterion="trace")) as ran:
        assert clone.plan()["reason"]["criterion"] == "trace"
        assert ran == SELECT | cells("fishpal") | {"report"}


def test_one_methods_option_reruns_its_cells(clone):
    with clone.changed(lambda p: p["methods"]["fishpal"].update(criterion="mean")) as ran:
        assert ran == {"select@toy-fishpal", "report"} | cells("fishpal")


def test_rates_length_and_kind_found_by_measuring(clone):
    def change(params):
        auto = dict.fromkeys(("prefix", "adapter", "lora", "head"), "auto")
        params["train"]["learning_rate"] |= auto
        params["train"] |= {"epochs": None, "pilot": True, "max_updates": 16}
        params["methods"]["fishpal"] = {"rule": "race"}

    with clone.changed(change) as ran:
        assert ran == {"pilot@toy"} | SELECT | cells(*METHODS) | {"report"}
        pilot = json.loads((clone.root / "artifacts/pilot/toy.json").read_text())
        best = min(pilot["arms"], key=lambda arm: min(p["pick_loss"] for p in arm["curve"]))
        assert clone.plan()["layers"] == [best["kind"]] * len(clone.plan()["layers"])
        for method in METHODS:
            plan = clone.plan(method)
            why = plan["reason"]["rates"]
            assert plan["updates"] == pilot["updates"] <= 16
            assert (
                set(why) == {"head", *plan["layers"]}
                and {kind: each["rate"] for kind, each in why.items()} == plan["learning_rate"]
            )
        said = (clone.root / "reports" / "results.md").read_text()
        assert f"trained for {pilot['updates']} updates, found by a pilot" in said


def test_report_option_reruns_the_report(clone):
    with clone.changed(lambda p: p["report"].update(resamples=60)) as ran:
        assert ran == {"report"}


def test_an_evaluation_size_reruns_evaluation(clone):
    def change(params):
        params["catalog"]["toy"]["sizes"]["evaluation"] = 20

    with clone.changed(change) as ran:
        evaluations = {f"evaluate@toy-{m}-0" for m in METHODS}
        assert ran == {"tokenize@toy", "report"} | evaluations
    assert clone.repro() == set()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            ("fishpal/selection/kernel.py", "fishpal/evaluation/metric_classes.py"),
            SELECT | {"pilot@toy", "code_evaluate", *(f"evaluate@toy-{m}-0" for m in METHODS)},
        ),
        (
            ("fishpal/training/train.py", "fishpal/reporting/figures.py"),
            {"code_train", "pilot@toy", *(f"train@toy-{m}-0" for m in METHODS), "report"},
        ),
    ],
    ids=["select and evaluate", "train and report"],
)
def test_source_files_rerun_the_stages_that_import_them(clone, names, expected):
    """Two at once, in rooms that no stage shares."""
    before = {clone.root / name: (clone.root / name).read_text() for name in names}
    for path, text in before.items():
        path.write_text(text + "\n# a comment\n")
    ran = clone.repro()
    # Outputs come out the same, so nothing behind them runs; seconds may differ, and only the
    # report reads those.
    assert expected <= ran <= expected | {"report"}
    for path, text in before.items():
        path.write_text(text)


def test_going_back_from_all_of_it_runs_nothing(clone):
    assert clone.repro() == set()
    assert outputs(clone.root) == clone.outputs


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


def test_a_new_seed_trains_its_cells(clone):
    with clone.changed(lambda p: p["grid"].update(seeds=[0, 1])) as ran:
        assert ran == cells(*METHODS, seed=1) | {"report"}
        metrics = json.loads((clone.root / "reports" / "metrics.json").read_text())
        assert "test_accuracy_sd" in metrics["toy"]["lora"], "two seeds have a spread"
    # Files of cells that left the grid stay, so the report looks at its folders once more.
    assert clone.repro() <= {"report"}
    assert outputs(clone.root).items() >= clone.outputs.items()


def test_a_new_task_runs_its_own_stages(clone):
    def change(params):
        params["grid"].update(tasks=["toy", "other"], methods=["lora"])

    with clone.changed(change) as ran:
        own = {"hash@other", "download@other", "tokenize@other", "fisher@other",
               "pilot@other", "select@other-lora"}  # fmt: skip
        assert ran == own | cells("lora", task="other") | {"report"}
    assert clone.check() == ""
    assert clone.repro() <= {"report"}
    with clone.changed(change) as ran:
        assert ran <= {"report"}, "they come back from the run cache"


@pytest.mark.parametrize(
    ("section", "key", "said_of_it"),
    [("fisher", "examples", "is -1; allowed"), ("train", "lr", "is unknown; allowed: batch_size")],
)
def test_a_bad_value_is_one_clear_line_and_leaves_nothing(clone, section, key, said_of_it):
    """By hand, without the checks; a misspelt key makes no stage but the report run."""
    clone.edit(lambda p: p[section].update({key: -1}))
    try:
        said = clone.dvc("repro", fails=True)
    finally:
        clone.git("checkout", "-q", "params.yaml")
    assert f"error: params.yaml: {section}.{key} {said_of_it}" in said
    assert "Traceback" not in said
    assert not list(clone.root.glob("artifacts/**/.*"))
