"""Note the hashes of source files, so that a matrix of stages has one code dependency, not ten.

`python -m stages.hash_code <name> <path>…`: in dvc.yaml the paths are the stage's dependencies.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from fishpal.common.files import sha256_of, write_json
from fishpal.records.paths import Artifacts


def main(name: str, *given: str) -> None:
    write_json(Artifacts().code(name), hash_code(given))


def hash_code(given: Iterable[str]) -> dict[str, str]:
    """File → SHA-256 of its bytes, for files and whatever stands in folders, sorted."""
    found = {path for name in given for path in (Path(name), *Path(name).rglob("*"))}
    files = (path for path in found if path.is_file() and "__pycache__" not in path.parts)
    return {str(path): sha256_of(path) for path in sorted(files)}


if __name__ == "__main__":
    main(*sys.argv[1:])
