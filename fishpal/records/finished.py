"""What a finished stage of a cell left, so that an equal cell need not be computed again."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Self

from fishpal.common.errors import FishpalError
from fishpal.common.files import reading, replacing, sha256_of
from fishpal.records.record import JsonRecord

LIBRARY = Path(__file__).parent.parent


def result_key(parts: object, files: Sequence[Path]) -> str:
    """Hash of all that decides a result; the library's and torch's versions count, too.

    Args:
        parts: JSON values, such as the plan, the options and the seed.
        files: the examples, the encoder, weights; by their names, too, which are splits'.

    Raises:
        PlanError: a file that cannot be read.
    """
    digest = hashlib.sha256(json.dumps([parts, version("torch")], sort_keys=True).encode())
    for path in [*files, *sorted(LIBRARY.rglob("*.py"))]:
        with reading(path, "a file"):
            digest.update(f"{path.name}\0{sha256_of(path)}\0".encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class Outputs:
    """Where a cell leaves what: its folder, and single files in an order of their own.

    Attributes:
        own: a file of the folder that has the cell's names in it, and is no other's.
    """

    folder: Path
    files: tuple[Path, ...] = ()
    own: str | None = None

    def shared(self) -> Iterator[Path]:
        """Every file but the cell's own."""
        yield from (path for path in sorted(self.folder.iterdir()) if path.name != self.own)
        yield from self.files


@dataclass(frozen=True)
class Finished(JsonRecord):
    """The outputs of a cell; `hashes` are their SHA-256 by path."""

    folder: str
    files: tuple[str, ...]
    hashes: dict[str, str]

    @classmethod
    def of(cls, outputs: Outputs) -> Self:
        """What the outputs are now."""
        files = tuple(map(str, outputs.files))
        return cls(str(outputs.folder), files, {str(p): sha256_of(p) for p in outputs.shared()})

    @property
    def outputs(self) -> Outputs:
        """Where they are."""
        return Outputs(Path(self.folder), tuple(map(Path, self.files)))

    @classmethod
    def find(cls, path: Path, own: str | None = None) -> Self | None:
        """What the file tells of, if all of it is still there as it was."""
        try:
            found = cls.load(path)
            here = cls.of(replace(found.outputs, own=own))
        except (OSError, FishpalError):
            return None
        return found if found == here else None

    def take_over(self, outputs: Outputs, own: JsonRecord | None = None) -> None:
        """Copy all to where an equal cell leaves it; `own` becomes that one's own file."""
        if self.folder == str(outputs.folder):
            return
        with replacing(outputs.folder) as draft:
            shutil.copytree(self.folder, draft)
            if own is not None and outputs.own is not None:
                own.save(draft / outputs.own)
        for source, target in zip(self.files, outputs.files, strict=True):
            with replacing(target) as draft:
                shutil.copyfile(source, draft)
