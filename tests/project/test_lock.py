"""dvc.lock tells of the sources as they are: what is committed was made by this code."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.project.closure import ROOT

LOCKS = [ROOT / "dvc.lock", ROOT / "studies" / "criteria" / "dvc.lock"]
LISTED = subprocess.run(
    ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
    cwd=ROOT, capture_output=True, text=True, check=True,
).stdout.split("\0")  # fmt: skip
FILES = {ROOT / name for name in LISTED if name and (ROOT / name).is_file()}


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def dvc_hash(path: Path) -> str:
    """What DVC notes of a file, or of a folder: the hash of the list of its files' hashes."""
    if path.is_file():
        return md5(path)
    inside = sorted(
        (file.relative_to(path).as_posix(), md5(file)) for file in FILES if path in file.parents
    )
    listing = json.dumps([{"md5": digest, "relpath": name} for name, digest in inside])
    return hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest() + ".dir"


def entries(lock: Path) -> list[tuple[str, Path, str]]:
    """Stage, source file or folder, and the hash that the lock has of it."""
    stages = yaml.load(lock.read_text(), yaml.CSafeLoader)["stages"]
    return [
        (name, (lock.parent / dep["path"]).resolve(), dep["md5"])
        for name, stage in stages.items()
        for dep in stage["deps"]
        if "artifacts" not in Path(dep["path"]).parts
    ]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.parent.name)
def test_the_lock_matches_the_sources(lock):
    known: dict[Path, str] = {}
    stale: dict[str, set[str]] = {}
    found = entries(lock)
    assert found
    for stage, path, noted in found:
        known.setdefault(path, dvc_hash(path) if path.exists() else "gone")
        if known[path] != noted:
            stale.setdefault(str(path.relative_to(ROOT)), set()).add(stage)
    assert stale == {}, "run `make report` (and `make study`), and commit what it leaves"


def test_the_lock_holds_what_dvc_yaml_has_and_is_small():
    text = (ROOT / "dvc.lock").read_text()
    names = {name.split("@")[0] for name in yaml.load(text, yaml.CSafeLoader)["stages"]}
    assert names == set(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])
    assert len(text.encode()) < 60_000
