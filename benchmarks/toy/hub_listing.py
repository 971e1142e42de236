"""What a hub says of a repository's files: sizes and hashes."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

LARGE = (".safetensors", ".parquet")  # kept apart, behind a redirect
Files = dict[str, bytes]


def is_below(path: str, folder: str, recursive: bool) -> bool:
    parents = [str(each) for each in PurePosixPath(path).parents]
    return (folder or ".") in (parents if recursive else parents[:1])


def rows_of(files: Files, extra: int = 0) -> list[dict[str, Any]]:
    """What a listing says of the files, and of the folders that they lie in."""
    folders = {str(each) for path in files for each in PurePosixPath(path).parents} - {"."}
    rows: list[dict[str, Any]] = [
        {"type": "directory", "path": path, "size": 0, "oid": git_hash(b"")} for path in folders
    ]
    for path, data in files.items():
        row = {"type": "file", "path": path, "size": len(data) + extra, "oid": git_hash(data)}
        if path.endswith(LARGE):
            row["lfs"] = {"oid": hash_of(path, data), "size": len(data) + extra, "pointerSize": 130}
        rows.append(row)
    return rows


@lru_cache(100)  # of the same objects again and again
def hash_of(path: str, data: bytes) -> str:
    return hashlib.sha256(data).hexdigest() if path.endswith(LARGE) else git_hash(data)


def git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
