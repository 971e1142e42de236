"""What every record that is one JSON file has in common."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from fishpal.common.files import read_json, write_json
from fishpal.common.validate import Strict, decode


def without_default(data: dict[str, Any], key: str, default: object) -> dict[str, Any]:
    """JSON without a key that came later, where it has its default, as in older files."""
    return {name: value for name, value in data.items() if name != key or value != default}


class JsonRecord(Strict):
    """A dataclass whose fields are the keys of its file."""

    def to_json(self) -> dict[str, Any]:
        """Readable JSON; decoding it gives an equal record."""
        data: Any = self  # a dataclass, as all that inherit are
        return asdict(data)

    def save(self, path: str | Path) -> None:
        """Write the file as a whole; the same record gives the same bytes."""
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read the file; `PlanError` names it, and the key that is missing or wrong."""
        return decode(cls, read_json(path), str(path))
