"""The rules of the code base that a machine can check."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from fishpal.options import TrainOptions
from tests.closure import ROOT, closure_of, imports_of

LIBRARY = sorted((ROOT / "fishpal").rglob("*.py"))
STAGES = sorted((ROOT / "stages").glob("*.py"))
DVC = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]

# A file imports only from its own line or from lines above it.
TIERS = """
errors kinds checks options files
specs
decode facts sections catalog explain config table plan grams tokens
criteria kernel search selection
metrics metric_classes statistics study frames wheels tasks sources splitting tokenization
attention encoder batching pooling
modules
attach model head
accumulate gradients fisher evaluation resume training_run training checkpoints export
results artifacts markdown cautions comparison tables figures reporting
""".strip().split("\n")
TIER = {name: number for number, line in enumerate(TIERS) for name in line.split()}


def unit(path: Path) -> str:
    parts = path.relative_to(ROOT / "fishpal").parts
    return parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", LIBRARY, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path):
    if path == ROOT / "fishpal" / "__init__.py":
        assert not imports_of(path), "importing the package must import nothing else of it"
        return
    for target in imports_of(path) - {ROOT / "fishpal" / "__init__.py"}:
        assert target.is_relative_to(ROOT / "fishpal"), "the library knows no stages"
        assert TIER[unit(target)] <= TIER[unit(path)], f"{path.name} imports {target.name}"


def test_no_import_cycles():
    for path in LIBRARY:
        for target in imports_of(path) - {path}:
            # a package's __init__ runs before its parts, which is no cycle of ours
            if target.name != "__init__.py" and path.name != "__init__.py":
                again = {ROOT / name for name in closure_of(target)}
                assert path not in again, f"{path.name} and {target.name} import each other"


@pytest.mark.parametrize("path", LIBRARY + STAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_sizes_and_habits(path):
    text = path.read_text()
    limit = 60 if path.parent.name == "stages" and path.name != "runner.py" else 250
    assert text.count("\n") <= limit
    tree = ast.parse(text)
    assert path.name == "__init__.py" or ast.get_docstring(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            lines = node.end_lineno - node.lineno + 1
            documented = ast.get_docstring(node, clean=False) or ""
            assert lines - documented.count("\n") <= 40, f"{node.name} has {lines} lines"
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("print", "eval", "exec"), f"{called} at line {node.lineno}"
        if isinstance(node, ast.keyword):
            is_true = isinstance(node.value, ast.Constant) and node.value.value is True
            assert not (node.arg in ("trust_remote_code", "shell") and is_true)
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        assert not {"pickle", "joblib", "dill", "marshal", "shelve"} & set(names)


def test_every_stage_depends_on_all_it_imports():
    for name, stage in DVC.items():
        module = stage["cmd"].split()[2].split(".")[1]
        listed = {dep for dep in stage["deps"] if dep.endswith(".py")}
        assert listed == set(closure_of(ROOT / "stages" / f"{module}.py")), name


def test_every_stage_of_the_study_depends_on_all_it_imports():
    folder = ROOT / "studies" / "criteria"
    for name, stage in YAML(typ="safe").load((folder / "dvc.yaml").read_text())["stages"].items():
        words = stage["cmd"].split()
        module = words[words.index("-m") + 1].replace(".", "/")
        listed = {(folder / dep).resolve() for dep in stage["deps"] if dep.endswith(".py")}
        assert listed == {ROOT / each for each in closure_of(ROOT / f"{module}.py")}, name


def test_every_training_option_is_tracked():
    tracked = {p.removeprefix("train.") for p in DVC["train"]["params"] if p.startswith("train.")}
    # The rates reach training through the plan, each only where its kind is used.
    assert tracked | {"learning_rate"} == {field.name for field in fields(TrainOptions)}
    assert "train.learning_rate" in DVC["select"]["params"]


@pytest.mark.parametrize("stage", ["download_task", "select_plan", "write_report"])
def test_light_stages_import_no_torch(stage):
    code = f"import sys, stages.{stage}; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert not {"torch", "transformers", "datasets", "evaluate", "sklearn", "scipy"} & loaded


def test_the_core_needs_no_pipeline_packages():
    core = ("fisher", "training", "checkpoints", "export", "criteria", "selection", "head")
    code = "import sys; " + "; ".join(f"import fishpal.{name}" for name in core)
    code += "; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not {"datasets", "evaluate", "dvc", "pydantic"} & set(done.stdout.split())


def test_public_names_resolve():
    import fishpal

    for name in fishpal.__all__:
        assert getattr(fishpal, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fishpal.nothing  # noqa: B018
