"""Take the hashes of local files anew where the files have changed; DVC does the rest.

Nothing in dvc.yaml can name the files that params.yaml lists. So the stages `hash` and
`hash_encoder` write their hashes, on which `download` and `encoder` depend. No dependency tells
when those have to run again: that is compared here. They are made to run, past the run cache,
which may hold the hashes of other clones' files.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

from fishpal.common.errors import FishpalError
from fishpal.common.files import read_json
from fishpal.params.load import Params
from fishpal.params.sections import AnySource
from stages.hash_source import hash_files, note_of, source_of
from stages.runner import run


def main(params: Params) -> None:
    stages = {"hash_encoder": "encoder"}
    stages |= {f"hash@{name}": f"catalog.{name}" for name in params.grid.tasks}
    stale = [stage for stage, section in stages.items() if _has_changed(params, section)]
    if stale:
        from dvc.exceptions import DvcException  # here: slow to import
        from dvc.repo import Repo

        try:
            with Repo() as repo:
                repo.reproduce(stale, force=True, single_item=True)
        except DvcException as error:
            raise FishpalError(f"{stale[0]}: {error}") from error


def _has_changed(params: Params, section: str) -> bool:
    """Whether local files have other bytes than those noted last; says which."""
    source, noted = source_of(params, section), _read(note_of(section))
    found = hash_files(source)
    local = type(source).local_files is not AnySource.local_files  # and none need be there
    if local and noted and not any(found.values()):  # a clone on another machine, say
        missing = ", ".join(found or noted)
        sys.stderr.write(f"{missing}: not there; what was read of {section} stays in use\n")
        return False
    changed = [name for name in {**noted, **found} if noted.get(name) != found.get(name)]
    if noted and changed:
        sys.stderr.write(f"{', '.join(changed)}: changed; {section} is read again\n")
    return bool(changed)


def _read(note: Path) -> dict[str, str | None]:
    """What was noted; nothing where there is no note, or a damaged one, which DVC mends."""
    with suppress(FishpalError):
        noted = read_json(note)
        if isinstance(noted, dict):
            return noted
    return {}


if __name__ == "__main__":
    run(main)
