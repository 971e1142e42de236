"""The study's store: one JSON Lines file a group, sorted, a line each training or measurement.

A line holds its columns (`names.COLUMNS`), what came of it, and its key, the hash of all that
decides the result but the code; a line with the right key is never made again. So a killed run
goes on where it was, a deleted line is the one that is made again, and new seeds or plans cost
only themselves. Until a stage has all of its lines, each new one waits in a file of its own
(`WORKING`, not in git). Predictions are kept apart, in one compressed Parquet file by key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from fishpal.common.errors import DataError
from fishpal.common.files import read_json, replacing, write_json, write_text
from studies.criteria.design.names import COLUMNS, STORE, Columns, store_path

WORKING = Path("artifacts", "working")
PREDICTIONS = STORE / "predictions.parquet"
APART = ("labels", "predictions")
"""One digit an example, kept in `PREDICTIONS`."""

Line = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Wanted:
    """A line that the study asks for; each is itself alone, as a key of mappings."""

    columns: Columns
    key: str

    @property
    def _name(self) -> str:
        text = json.dumps([dict(self.columns), self.key], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:20]

    def working(self, group: str) -> Path:
        """Its file while its stage is at work."""
        return WORKING / group / f"{self._name}.json"


def read_lines(group: str) -> list[Line]:
    """All lines of a group, none where it has no file.

    Raises:
        DataError: naming the file and the line that is not JSON.
    """
    path, lines = store_path(group), list[Line]()
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    for number, row in enumerate(text.splitlines(), 1):
        try:
            lines.append(json.loads(row))
        except ValueError as error:
            raise DataError(f"{path}: line {number} is not JSON: {error}") from error
    return lines


def read_predictions() -> dict[str, dict[str, str]]:
    """Key → `labels` and `predictions`, one digit an example."""
    if not PREDICTIONS.is_file():
        return {}
    rows = pd.read_parquet(PREDICTIONS).to_dict("records")
    return {row["key"]: {name: row[name] for name in APART} for row in rows}


def missing(group: str, wanted: Sequence[Wanted], predicted: bool = False) -> list[Wanted]:
    """Those without a line, or working file, of the right columns and key.

    Args:
        predicted: the lines need predictions, too.
    """
    keys = set(read_predictions()) if predicted else {each.key for each in wanted}
    stored = {_identity(line, line["key"]) for line in read_lines(group) if line.get("key") in keys}
    return [
        each
        for each in wanted
        if _identity(each.columns, each.key) not in stored and not each.working(group).is_file()
    ]


def keep(group: str, wanted: Wanted, result: Mapping[str, Any]) -> None:
    """Keep a new line until its stage is through."""
    write_json(wanted.working(group), {**wanted.columns, **result, "key": wanted.key})


def gather(groups: Mapping[str, Sequence[Wanted]], predicted: bool = False) -> None:
    """Write each group's file: stored lines and new ones, those not asked for left out."""
    found, apart = dict[str, list[Line]](), read_predictions() if predicted else {}
    for group, wanted in groups.items():
        stored = {_identity(line, line.get("key")): line for line in read_lines(group)}
        lines = []
        for each in wanted:
            path = each.working(group)
            line = read_json(path) if path.is_file() else None
            lines.append(line or stored[_identity(each.columns, each.key)])
            if predicted and line is not None:
                apart[each.key] = {name: line.pop(name) for name in APART}
        lines = [{c: line[c] for c in COLUMNS if c in line} | line for line in lines]
        found[group] = sorted(lines, key=_order)
    if predicted:
        keys = {line["key"] for lines in found.values() for line in lines}
        _write_predictions({key: apart[key] for key in sorted(keys)})
    for group, lines in found.items():
        rows = [json.dumps(line, ensure_ascii=False, allow_nan=False) for line in lines]
        write_text(store_path(group), "".join(f"{row}\n" for row in rows))
        for each in groups[group]:
            each.working(group).unlink(missing_ok=True)


def _write_predictions(apart: Mapping[str, Mapping[str, str]]) -> None:
    if apart == read_predictions():
        return  # the same bytes, whatever version of Parquet's writer is installed
    frame = pd.DataFrame([{"key": key, **values} for key, values in apart.items()])
    with replacing(PREDICTIONS) as draft:
        frame.to_parquet(draft, index=False, compression="zstd", compression_level=19)


def _identity(columns: Columns, key: str | None) -> str:
    return json.dumps([{c: columns[c] for c in COLUMNS if c in columns}, key], sort_keys=True)


def _order(line: Columns) -> list[tuple[bool, Any]]:
    """By columns; lines without one come before those with it."""
    return [(name in line, line.get(name, 0)) for name in COLUMNS]
