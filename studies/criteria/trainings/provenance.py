"""Which code, torch and processor made a line, and when: what its key leaves out."""

from __future__ import annotations

import hashlib
import platform
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path

from studies.criteria.design.names import store_path
from studies.criteria.design.settings import read_yaml

CPUINFO = Path("/proc/cpuinfo")


def provenance(group: str) -> dict[str, str]:
    """Of a line of the group that is made now; the date is UTC's."""
    return {
        "code": code_of(group),
        "torch": version("torch"),
        "processor": _processor(),
        "date": datetime.now(UTC).date().isoformat(),
    }


@cache
def code_of(group: str) -> str:
    """Hash of the library's and the study's code that makes the lines of a group.

    The sources are those that dvc.yaml names as the stage's dependencies, which a test holds to
    what the stage imports; the study's design is left out, since each line carries its own plan.
    """
    stages = read_yaml("dvc.yaml")["stages"].values()
    out = str(store_path(group))
    deps = next(stage["deps"] for stage in stages if any(out in each for each in stage["outs"]))
    folders = sorted(dep for dep in deps if "/fishpal/" in dep or dep == "trainings")
    return code_hash([Path(folder) for folder in folders])


def code_hash(paths: list[Path]) -> str:
    """Hash of the names and bytes of Python files, and of those in folders."""
    digest = hashlib.sha256()
    for root in paths:
        for path in sorted(root.rglob("*.py")) if root.is_dir() else [root]:
            digest.update(f"{path.relative_to(root.parent)}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@cache
def _processor() -> str:
    """The graphics card where torch trains on one, else the CPU's model."""
    import torch

    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.processor() or platform.machine()
