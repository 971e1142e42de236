"""Take the hashes of local files anew where the files have changed; DVC does the rest.

Nothing in dvc.yaml can name the files that params.yaml lists. So the stages `hash` and
`hash_encoder` write their hashes, on which `download` and `encoder` depend. No dependency tells
when those have to run again: that is compared here, and they are made to run.
"""

from __future__ import annotations

import sys

from fishpal.common.errors import FishpalError
from fishpal.params.load import Params
from stages.hash_source import hash_files, noted, source_of, stays_in_use
from stages.runner import ARTIFACTS, run


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
    source, before = source_of(params, section), noted(ARTIFACTS.source(section))
    found = hash_files(source)
    if stays_in_use(source, found, before):
        missing = ", ".join(found or before)
        sys.stderr.write(f"{missing}: not there; what was read of {section} stays in use\n")
        return False
    changed = [name for name in {**before, **found} if before.get(name) != found.get(name)]
    if before and changed:
        sys.stderr.write(f"{', '.join(changed)}: changed; {section} is read again\n")
    return bool(changed)


if __name__ == "__main__":
    run(main)
