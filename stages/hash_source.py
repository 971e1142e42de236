"""Note the hashes of a source's local files, so that edited data are another dependency."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from fishpal.common.errors import FishpalError
from fishpal.common.files import read_json, sha256_of, write_json
from fishpal.params.load import Params
from fishpal.params.sections import AnySource
from stages.runner import ARTIFACTS, run


def main(params: Params, section: str) -> None:
    note, source = ARTIFACTS.source(section), source_of(params, section)
    found = hash_files(source)
    if not stays_in_use(source, found, noted(note)):
        write_json(note, found)


def noted(note: Path) -> dict[str, str | None]:
    """What was noted; nothing where there is no note, or a damaged one, which DVC mends."""
    with suppress(FishpalError):
        found = read_json(note)
        if isinstance(found, dict):
            return found
    return {}


def stays_in_use(
    source: AnySource, found: dict[str, str | None], before: dict[str, str | None]
) -> bool:
    """Whether files were noted and none of them is there, as in a clone on another machine."""
    local = type(source).local_files is not AnySource.local_files  # else none need be there
    same = not found or bool(found.keys() & before.keys())
    return local and bool(before) and same and not any(found.values())


def source_of(params: Params, section: str) -> AnySource:
    """The source of `encoder` or of `catalog.<task>`."""
    name = section.removeprefix("catalog.")
    return params.encoder.source if section == "encoder" else params.task(name).source


def hash_files(source: AnySource) -> dict[str, str | None]:
    """Local file → SHA-256, or nothing where it cannot be read; empty for packages and the hub."""
    return {str(path): _hash(path) for path in sorted(source.local_files())}


def _hash(path: Path) -> str | None:
    try:
        return sha256_of(path)
    except OSError:  # the stage that reads it says what is wrong
        return None


if __name__ == "__main__":
    run(main, "section")
