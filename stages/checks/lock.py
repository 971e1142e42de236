"""Remove a damaged dvc.lock; no stage of the pipeline itself.

`dvc` writes the file in place, so that a disk that fills meanwhile cuts it (dvc 3.67), and then
refuses to run at all. Without it nothing is lost: results come back from the run cache. Cells that
left the grid stay in it: coming back to them then takes seconds, since DVC writes the whole file
for every stage that it has to enter again.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from fishpal.params.load import Params
from stages.runner import run

LOCK = Path("dvc.lock")


def main(params: Params) -> None:
    if read_lock() is None:
        LOCK.unlink()
        sys.stderr.write(f"{LOCK}: is damaged; removed, results come back from the run cache\n")


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


if __name__ == "__main__":
    run(main)
