"""dvc.lock is of these sources and parameters: whoever changed them has run the pipeline since."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.toy.project import ROOT

STUDY = ROOT / "studies" / "criteria"
PROJECTS = [folder for folder in (ROOT, STUDY) if (folder / ".dvc").is_dir()]


def stale(folder: Path, site: Path) -> dict[str, list[str]]:
    """Stage → what has changed since it ran, artifacts apart: a fresh clone has none."""
    env = os.environ | {"DVC_SITE_CACHE_DIR": str(site)}
    command = [sys.executable, "-m", "dvc", "status", "--json"]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=True)
    found: dict[str, list[str]] = {}
    for stage, changes in json.loads(done.stdout).items():
        for change in changes:
            names = [change] if isinstance(change, str) else change.get("changed deps", {})
            sources = [name for name in names if "artifacts/" not in name]
            found.setdefault(stage, []).extend(sources)
    return {stage: names for stage, names in found.items() if names}


@pytest.mark.parametrize("folder", PROJECTS, ids=lambda folder: folder.name)
def test_the_lock_file_is_of_these_sources(folder, tmp_path):
    assert stale(folder, tmp_path) == {}, "run `make report` (`make study`) and commit"
