"""What every record that is one JSON file has in common."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from fishpal.common.decode import decode
from fishpal.common.files import read_json, write_json


class JsonRecord:
    """A dataclass whose fields are the keys of its file."""

    def save(self, path: str | Path) -> None:
        data: Any = self  # a dataclass, as all that inherit are
        write_json(path, asdict(data))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read the file; `PlanError` names it, and the key that is missing or wrong."""
        record: Self = decode(cls, read_json(path), str(path))
        return record
