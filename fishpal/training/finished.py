"""What a finished training left, so that one of an equal plan need not be done again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fishpal.common.errors import FishpalError
from fishpal.common.files import replacing
from fishpal.models.trained import PLAN
from fishpal.records.plan import Plan
from fishpal.records.record import JsonRecord
from fishpal.training.checkpoint import hash_of


@dataclass(frozen=True)
class Outputs:
    """Where a training leaves what: its folder, and single files in an order of their own."""

    trained: Path
    files: tuple[Path, ...]

    def paths(self) -> Iterator[Path]:
        """Every file but the plan, which has its method's name."""
        yield from (path for path in sorted(self.trained.iterdir()) if path.name != PLAN)
        yield from self.files


@dataclass(frozen=True)
class Finished(JsonRecord):
    """The outputs of a training; `hashes` are their SHA-256 by path."""

    trained: str
    files: tuple[str, ...]
    hashes: dict[str, str]

    @classmethod
    def of(cls, outputs: Outputs) -> Self:
        files = tuple(map(str, outputs.files))
        return cls(str(outputs.trained), files, {str(p): hash_of(p) for p in outputs.paths()})

    @classmethod
    def find(cls, path: Path) -> Self | None:
        """What the file tells of, if all of it is still there as it was."""
        try:
            found = cls.load(path)
            here = cls.of(Outputs(Path(found.trained), tuple(map(Path, found.files))))
        except (OSError, FishpalError):
            return None
        return found if found == here else None

    def take_over(self, plan: Plan, outputs: Outputs) -> None:
        """Copy weights, curve and the like to where a training of the equal `plan` leaves them."""
        if self.trained == str(outputs.trained):
            return
        with replacing(outputs.trained) as draft:
            shutil.copytree(self.trained, draft)
            plan.save(draft / PLAN)
        for source, target in zip(self.files, outputs.files, strict=True):
            with replacing(target) as draft:
                shutil.copyfile(source, draft)
