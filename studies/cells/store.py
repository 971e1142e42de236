"""Lines of a file, added one by one: a run goes on where it was."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Line = dict[str, Any]


@dataclass(frozen=True)
class Store:
    """Lines of one file, each known by some of its columns."""

    path: Path

    def lines(self) -> list[Line]:
        """All that is there."""
        text = self.path.read_text("utf-8") if self.path.is_file() else ""
        return [json.loads(line) for line in text.splitlines()]

    def find(self, **columns: Any) -> list[Line]:
        """The lines of these columns."""
        return [line for line in self.lines() if columns.items() <= line.items()]

    def add(self, line: Line) -> None:
        """Append a line, in one write: several processes may share the file."""
        self.path.parent.mkdir(exist_ok=True)
        with self.path.open("ab", buffering=0) as file:
            file.write((json.dumps(line) + "\n").encode("utf-8"))
