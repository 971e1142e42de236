"""dvc.lock is of these sources and parameters: whoever changed them has run the pipeline since."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import yaml

from benchmarks.toy.project import ROOT


def test_the_locks_are_of_these_sources(tmp_path):
    """The pipeline's and the study's; artifacts apart, which a fresh clone does not have."""
    env = os.environ | {"DVC_SITE_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "dvc", "status", "--json"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    stale: dict[str, list[str]] = {}
    for stage, changes in json.loads(done.stdout).items():
        for change in changes:
            names = [change] if isinstance(change, str) else change.get("changed deps", {})
            sources = [name for name in names if "artifacts/" not in name]
            stale.setdefault(stage, []).extend(sources)
    found = {stage: names for stage, names in stale.items() if names}
    assert found == {}, "run `make report` (`make study`) and commit what it leaves"


def test_the_lock_holds_what_dvc_yaml_has_and_is_small():
    text = (ROOT / "dvc.lock").read_text()
    names = {name.split("@")[0] for name in yaml.load(text, yaml.CSafeLoader)["stages"]}
    assert names == set(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])
    assert len(text.encode()) < 64_000  # 15 cells, of 4.2 KB each
