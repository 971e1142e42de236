"""Remove a damaged dvc.lock; no stage of the pipeline itself.

`dvc` writes the file in place, so that a disk that fills meanwhile cuts it (dvc 3.67), and then
refuses to run at all. Without it nothing is lost: results come back from the run cache.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from fishpal.params.load import Params
from stages.runner import run

LOCK = Path("dvc.lock")


def main(params: Params) -> None:
    if LOCK.is_file() and not _is_whole():
        LOCK.unlink()
        sys.stderr.write(f"{LOCK}: is damaged; removed, results come back from the run cache\n")


def _is_whole() -> bool:
    try:
        found = YAML(typ="safe", pure=True).load(LOCK)
    except (YAMLError, ValueError):  # ValueError: bytes that are no UTF-8
        return False
    stages = found.get("stages", {}) if isinstance(found, dict) else None
    if not isinstance(stages, dict) or "schema" not in found:
        return False
    return all(isinstance(stage, dict) and "cmd" in stage for stage in stages.values())


if __name__ == "__main__":
    run(main)
