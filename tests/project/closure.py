"""Which of the project's files a module imports, directly and through others.

`python -m tests.project.closure` prints what dvc.yaml has to list under each stage's deps.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("fishpal", "stages", "studies")


def file_of(module: str) -> Path | None:
    """The project's file behind a dotted name, or None where it is not the project's."""
    path = ROOT.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if module.split(".")[0] in PACKAGES and candidate.is_file():
            return candidate
    return None


@cache
def imports_of(path: Path) -> set[Path]:
    """The project's files that a file imports when it runs, at the top or within functions."""
    found: set[Path] = set()
    tree = ast.parse(path.read_text())
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = name.split(".")
            for end in range(1, len(parts) + 1):  # a package's __init__ runs, too
                target = file_of(".".join(parts[:end]))
                if target is not None:
                    found.add(target)
    return found


def closure_of(path: Path) -> list[str]:
    """The file itself and all that it imports, transitively, as sorted paths below the root."""
    todo, seen = [path], {path, path.parent / "__init__.py"}
    while todo:
        for found in imports_of(todo.pop()):
            if found not in seen:
                seen.add(found)
                todo.append(found)
    return sorted(str(each.relative_to(ROOT)) for each in seen)


if __name__ == "__main__":
    for stage in sorted((ROOT / "stages").glob("*_*.py")):
        print(stage.stem)
        for name in closure_of(stage):
            print(f"      - {name}")
