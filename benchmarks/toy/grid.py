"""A project whose grid is all computed, by files that are made up, for DVC to look over."""

from __future__ import annotations

import shutil
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.toy.project import ROOT, YAML12, edit_yaml, small, task_entry

METHODS = ("fishpal", "adapter", "lora", "prefix", "head")
SEEDS = (0, 1)


def names_of(tasks: int) -> list[str]:
    """Names of so many tasks of pairs, as the toy artifacts of the report know them."""
    return [f"pairs_{number}" for number in range(tasks)]


def computed_grid(root: Path, tasks: int) -> Path:
    """A project of tasks × `METHODS` × `SEEDS` cells, every output there, cached and locked."""
    from dvc.dependency import param
    from dvc.repo import Repo
    from dvc.stage.serialize import to_single_stage_lockfile

    for name in ("fishpal", "stages"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", "params.yaml", ".dvcignore"):
        shutil.copy(ROOT / name, root / name)

    def change(params: dict[str, Any]) -> None:
        small(params)
        names = names_of(tasks)
        params["grid"] = {"tasks": names, "methods": list(METHODS), "seeds": list(SEEDS)}
        params["catalog"] = {name: task_entry(name) for name in names}

    edit_yaml(root / "params.yaml", change)
    Repo.init(str(root), no_scm=True).close()
    # once: DVC itself reads the whole params file for every stage. Copies, since what stages
    # share the lock would write as references.
    read = cache(param.load_path)
    once = patch.object(param, "load_path", lambda *given: deepcopy(read(*given)))
    with Repo(str(root)) as repo, repo.lock, once:
        stages = list(repo.index.stages)
        for kind in ("outs", "deps"):  # of the deps, those that lie within an out
            for stage in stages:
                for each in getattr(stage, kind):
                    _make(Path(each.fs_path))
        for stage in stages:
            stage.save(run_cache=False)
            stage.commit()
        # at once: DVC itself writes the whole file for every stage
        lock = {stage.name: dict(to_single_stage_lockfile(stage)) for stage in stages}
    with (root / "dvc.lock").open("w", encoding="utf-8") as file:
        YAML12.dump({"schema": "2.0", "stages": lock}, file)
    return root


def _make(path: Path) -> None:
    """A file, or, without an ending, a folder of one."""
    target = path if path.suffix else path / "file"
    if not path.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(f"{path.name}\n", encoding="utf-8")
