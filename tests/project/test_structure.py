"""The rules of the code base that a machine can check."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from fishpal.params.options import TrainOptions
from tests.project.closure import ROOT, closure_of, imports_of

LIBRARY = sorted((ROOT / "fishpal").rglob("*.py"))
STAGES = sorted((ROOT / "stages").rglob("*.py"))
DVC = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
MOST_SOURCES = 10

# Room → the rooms that it may import from, beside itself.
ROOMS = {
    "common": "",
    "params": "common",
    "metrics": "common",
    "records": "common params",
    "sources": "common params records",
    "tasks": "common params records sources",
    "encoders": "common records",
    "tokens": "common params records encoders",
    "modules": "common params records encoders",
    "models": "common params records encoders modules",
    "fisher": "common params records encoders modules models",
    "compression": "common params records encoders modules models",
    "selection": "common params records",
    "training": "common params records encoders models modules compression",
    "evaluation": "common params records encoders models metrics",
    "reporting": "common params records metrics",
    "api": "common params records sources tasks encoders tokens modules models fisher selection"
    " training evaluation metrics reporting",
    "exports": "common params encoders modules models api",
}


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "fishpal").parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", LIBRARY, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path):
    if path == ROOT / "fishpal" / "__init__.py":
        assert not imports_of(path), "importing the package must import nothing else of it"
        return
    allowed = {room_of(path), *ROOMS[room_of(path)].split()}
    for target in imports_of(path) - {ROOT / "fishpal" / "__init__.py"}:
        assert target.is_relative_to(ROOT / "fishpal"), "the library knows no stages"
        assert room_of(target) in allowed, f"{path} imports {target}"


def test_every_room_is_in_the_table():
    assert {room_of(path) for path in LIBRARY} - {"__init__"} == set(ROOMS)


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


def has_code(path: Path) -> bool:
    """More than a docstring; the package's own `__init__` only says where public names live."""
    if path == ROOT / "fishpal" / "__init__.py":
        return False  # test_imports_go_one_way holds it to that
    body = ast.parse(path.read_text()).body
    return not all(isinstance(node, ast.Expr) for node in body)


CODE = re.compile(r"artifacts/code/(.+)\.json")


def sources_of(deps: list[str]) -> set[str]:
    """The deps outside artifacts, with those of the code stages that wrote the others."""
    found = {dep for dep in deps if "artifacts" not in dep}
    codes = filter(None, map(CODE.fullmatch, deps))
    return found.union(*(sources_of(hashed_by(f"code_{code[1]}")) for code in codes))


def hashed_by(name: str) -> list[str]:
    """The paths that a code stage is asked to hash."""
    return list(DVC[name]["cmd"].split()[4:])


def check_stage(stage: dict, folder: Path, most: int = MOST_SOURCES) -> None:  # type: ignore[type-arg]
    """The stage's source entries cover what it imports, and nothing is listed in vain."""
    words = stage["cmd"].split()
    module = words[words.index("-m") + 1].replace(".", "/")
    imported = {ROOT / each for each in closure_of(ROOT / f"{module}.py")}
    imported = {path for path in imported if has_code(path)}
    listed = {(folder / dep).resolve() for dep in sources_of(stage["deps"])}
    listed = {path for path in listed if path.suffix == ".py" or any(path.rglob("*.py"))}
    for path in imported:
        assert listed & {path, *path.parents}, f"{module} imports {path}, no dependency"
    for entry in listed:
        used = any(entry in (path, *path.parents) for path in imported)
        assert used, f"{module} depends on {entry} in vain"
    assert len(listed & {(folder / dep).resolve() for dep in stage["deps"]}) <= most


CODE_STAGES = [name for name in DVC if name.startswith("code_")]


@pytest.mark.parametrize("name", CODE_STAGES)
def test_a_code_stage_depends_on_what_it_hashes(name):
    """Then its file differs where DVC runs the stage, and DVC runs it where the file would."""
    deps, own = DVC[name]["deps"], "stages/hash_code.py"
    assert sorted(deps) == sorted([*hashed_by(name), own]) and len(deps) <= MOST_SOURCES
    assert DVC[name]["outs"] == [f"artifacts/code/{name.removeprefix('code_')}.json"]
    imported = {ROOT / each for each in closure_of(ROOT / own) if has_code(ROOT / each)}
    covered = {ROOT / path for path in sources_of(deps)}
    assert all(covered & {path, *path.parents} for path in imported)


@pytest.mark.parametrize("name", [name for name in DVC if name not in CODE_STAGES])
def test_every_stage_depends_on_all_it_imports(name):
    check_stage(DVC[name], ROOT)


STUDY = ROOT / "studies" / "criteria"
STUDY_STAGES = YAML(typ="safe").load((STUDY / "dvc.yaml").read_text())["stages"]


@pytest.mark.parametrize("name", STUDY_STAGES)
def test_every_stage_of_the_study_depends_on_all_it_imports(name):
    check_stage(STUDY_STAGES[name], STUDY, most=MOST_SOURCES + 2)  # its own two folders


def test_every_training_option_is_tracked():
    tracked = {p.removeprefix("train.") for p in DVC["train"]["params"] if p.startswith("train.")}
    # Rates (each only where its kind is used) and length reach training through the plan.
    reached = {"learning_rate", "updates", "max_updates", "epochs", "pilot", "race"}
    assert tracked | reached == {field.name for field in fields(TrainOptions)}
    assert "train.learning_rate" in DVC["select"]["params"]
    assert "train" in DVC["pilot"]["params"]


@pytest.mark.parametrize("stage", ["download_task", "select_plan", "write_report"])
def test_light_stages_import_no_torch(stage):
    code = f"import sys, stages.{stage}; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert not {"torch", "transformers", "datasets", "evaluate", "sklearn", "scipy"} & loaded


def test_the_core_needs_no_pipeline_packages():
    core = (
        "fisher.engine",
        "training.train",
        "models.trained",
        "exports.merge",
        "selection.methods",
    )
    code = "import sys; " + "; ".join(f"import fishpal.{name}" for name in core)
    code += "; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not {"datasets", "evaluate", "dvc"} & set(done.stdout.split())


def test_public_names_resolve():
    import fishpal

    for name in fishpal.__all__:
        assert getattr(fishpal, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fishpal.nothing  # noqa: B018
