"""Put dvc.lock in order: remove a damaged one, and from a whole one the stages that are no more.

`dvc` writes the file in place, so that a disk that fills meanwhile cuts it (dvc 3.67), and then
refuses to run at all. It writes it as a whole after every stage, and never removes a stage: cells
that left the grid would slow down all others. Either way results come back from the run cache.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml

from fishpal.common.files import write_text
from fishpal.params.load import Params
from stages.runner import run

LOCK = Path("dvc.lock")


def main(params: Params) -> None:
    found = read_lock()
    if found is None:
        LOCK.unlink()
        sys.stderr.write(f"{LOCK}: is damaged; removed, results come back from the run cache\n")
    elif found:
        _prune(set(found))


def read_lock() -> dict[str, Any] | None:
    """Stage → its entry; none without the file, nothing where it is damaged."""
    if not LOCK.is_file():
        return {}
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA  # here: slow to import
    from voluptuous import Invalid

    try:
        found = yaml.load(LOCK.read_bytes(), yaml.CSafeLoader)
        return dict(COMPILED_LOCKFILE_SCHEMA(found).get("stages") or {})
    except (yaml.YAMLError, ValueError, Invalid):  # ValueError: bytes that are no UTF-8
        return None


def _prune(names: set[str]) -> None:
    """Cut the stages out of the text that dvc.yaml does not name."""
    from dvc.dvcfile import load_file
    from dvc.repo import Repo

    with Repo() as repo:
        gone = names - set(load_file(repo, "dvc.yaml").resolver.get_keys())
    if gone:
        blocks = re.split(r"(?m)^(?=  \S)", LOCK.read_text(encoding="utf-8"))
        write_text(LOCK, "".join(b for b in blocks if b.strip().split(":")[0] not in gone))


if __name__ == "__main__":
    run(main)
