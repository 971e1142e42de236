"""Remove cached artifacts whose bytes have changed; no stage of the pipeline itself.

DVC trusts a read-only cache file, whatever it holds (dvc 3.67). A missing one it makes again.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from fishpal.common.files import read_json
from fishpal.params.load import Params
from stages.checks.lock import read_lock
from stages.runner import run


def main(params: Params) -> None:
    from dvc.repo import Repo  # here: slow to import

    with Repo() as repo:
        root = Path(repo.cache.local.path)
    for name in tqdm(sorted(set(_named())), "check cache", disable=None):
        for path in _files(root, name):
            if path.is_file() and not _is_whole(path):
                path.unlink()
                sys.stderr.write(f"{path}: has changed; removed, its stage will run again\n")


def _named() -> Iterator[str]:
    """The hashes of the outputs that dvc.lock names."""
    for stage in (read_lock() or {}).values():
        yield from (out["md5"] for out in stage.get("outs", []) if "md5" in out)


def _files(root: Path, name: str) -> Iterator[Path]:
    """An object, and a folder's members where the list of them is whole."""
    listing = root / name[:2] / name[2:]
    if name.endswith(".dir") and listing.is_file() and _is_whole(listing):
        for member in read_json(listing):
            yield root / member["md5"][:2] / member["md5"][2:]
    yield listing


def _is_whole(path: Path) -> bool:
    """The file's bytes give its name."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    return found == path.parent.name + path.name.removesuffix(".dir")


if __name__ == "__main__":
    run(main)
