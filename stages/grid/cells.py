"""Which cells there are, which of them are not done, and what all of them share: as DVC has it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

from fishpal.common.errors import FishpalError
from stages.grid.words import last_line

OF_A_CELL = ("train", "evaluate")  # stages that workers run; the others' results they share
WAITING = ["-m", "dvc", "--wait-for-lock"]


@dataclass(frozen=True)
class Grid:
    """Names of stages.

    Attributes:
        cells: a stage `evaluate` for each cell, in the pipeline's order.
        shared: what cells need, and do not run.
    """

    cells: tuple[str, ...]
    shared: tuple[str, ...]

    @classmethod
    def read(cls) -> Grid:
        """From dvc.yaml and params.yaml of the current folder."""
        from dvc.exceptions import DvcException  # here: slow to import
        from dvc.repo import Repo

        try:
            with Repo() as repo:
                graph = repo.index.graph
                own = [s for s in repo.index.stages if s.addressing.split("@")[0] in OF_A_CELL]
                shared = {dep for stage in own for dep in graph.successors(stage)} - set(own)
        except DvcException as error:
            raise FishpalError(f"dvc.yaml: {error}") from error
        last = [s.addressing for s in own if s.addressing.startswith(f"{OF_A_CELL[-1]}@")]
        return cls(tuple(last), tuple(sorted(stage.addressing for stage in shared)))

    def left(self) -> tuple[list[str], list[str]]:
        """What is shared and not up to date, and the cells that are not done.

        Where there is any of the former, all cells count: only then is it known what they need.
        """
        changed = _changed()
        shared = [name for name in changed if name.split("@")[0] not in (*OF_A_CELL, "report")]
        trainings = [cell.replace(OF_A_CELL[1], OF_A_CELL[0], 1) for cell in self.cells]
        pairs = zip(self.cells, trainings, strict=True)
        return shared, [cell for cell, of in pairs if shared or {cell, of} & changed]

    def run_shared(self) -> None:
        """Bring what all cells share up to date, here; DVC's words are shown."""
        if subprocess.call([sys.executable, *WAITING, "repro", *self.shared]):
            raise FishpalError("what all cells share failed, as said above: no cell was started")


def _changed() -> set[str]:
    """The stages that DVC finds changed."""
    command = [sys.executable, *WAITING, "status", "--json", "dvc.yaml"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise FishpalError(f"dvc status: {last_line(done.stderr)}")
    return set(json.loads(done.stdout))
