"""Tables from files, cell by cell as they were written: no guessing of types or missing words.

| ending | rows |
|---|---|
| `.csv` | RFC 4180 with a header; every cell is a text, also `NA` and `null` |
| `.tsv` | a header and tab-separated cells without quoting, as GLUE's files are |
| `.jsonl`, `.json` | JSON Lines: one object a line |
| `.parquet` | as it is |

The text formats may be compressed: `.bz2`, `.gz` or `.xz` after the ending. They are UTF-8.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from fishpal.common.errors import DataError, brief

COMPRESSIONS: dict[str, Any] = {".bz2": bz2.open, ".gz": gzip.open, ".xz": lzma.open}
FORMATS = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
ALLOWED = ", ".join(FORMATS) + "; all but .parquet also with .bz2, .gz or .xz"


def read_frame(path: str | Path, columns: Sequence[str], name: str | None = None) -> pd.DataFrame:
    """Read some columns of a table; every cell stays the Python value that the file holds.

    Args:
        columns: the columns wanted; the others are left out.
        name: what messages call the file; its path unless given.

    Returns:
        Columns of dtype object, index 0, 1, … in the file's order.

    Raises:
        DataError: naming the file, and row or byte where known.
    """
    path, name = Path(path), name or str(path)
    compression = path.suffix.lower() if path.suffix.lower() in COMPRESSIONS else ""
    ending = Path(path.stem if compression else path.name).suffix.lower()
    if ending not in FORMATS or (compression and ending == ".parquet"):
        raise DataError(f"{name}: ending is '{brief(ending + compression)}'; allowed: {ALLOWED}")
    if ending == ".parquet":
        cells = _read_parquet(path, columns, name)
    else:
        text = _read_text(path, compression, name)
        if not text.strip():
            raise DataError(f"{name}: is empty; allowed: one row or more")
        if ending in (".csv", ".tsv"):
            cells = _parse_delimited(text, columns, name, tabs=ending == ".tsv")
        else:
            cells = _parse_json_lines(text, columns, name)
    frame = pd.DataFrame({key: pd.Series(values, dtype=object) for key, values in cells.items()})
    if frame.empty:
        raise DataError(f"{name}: holds no rows; allowed: one or more")
    return frame


def check_columns(name: str, columns: Sequence[str], present: Sequence[str]) -> None:
    """Raise `DataError` naming the first missing column and those that are there."""
    for column in columns:
        if column not in present:
            allowed = ", ".join(brief(c) for c in present)
            raise DataError(f"{name}: no column '{column}'; allowed: {brief(allowed, 300)}")


def _read_text(path: Path, compression: str, name: str) -> str:
    try:
        with COMPRESSIONS.get(compression, Path.open)(path, "rb") as file:
            data: bytes = file.read()
    except (lzma.LZMAError, zlib.error, gzip.BadGzipFile, EOFError) as error:
        raise DataError(f"{name}: not readable as {compression}: {brief(error)}") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or brief(error)
        raise DataError(f"{name}: cannot be read: {reason}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{name}: byte {error.start} in line {line} is not UTF-8") from error


def _parse_delimited(
    text: str, columns: Sequence[str], name: str, tabs: bool
) -> dict[str, list[Any]]:
    quoting: Literal[0, 3] = csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL
    source = io.StringIO(text, newline="")
    reader = csv.reader(source, delimiter="\t" if tabs else ",", quoting=quoting, strict=True)
    # The default of 131,072 characters a cell is below a long document; the file is in memory.
    limit = csv.field_size_limit(sys.maxsize)
    try:
        header = next(reader)
        check_columns(name, columns, header)
        if len(set(header)) < len(header):
            raise DataError(f"{name}: header {brief(header)}; allowed: each column once")
        places = [header.index(column) for column in columns]
        cells: list[list[Any]] = [[] for _ in columns]
        for row in reader:
            if not row:  # an empty line
                continue
            if len(row) != len(header):
                where = f"{name}: line {reader.line_num}"
                raise DataError(f"{where} has {len(row)} cells; allowed: {len(header)}")
            for values, place in zip(cells, places, strict=True):
                values.append(row[place])
    except csv.Error as error:
        raise DataError(f"{name}: line {reader.line_num}: {error}") from error
    finally:
        csv.field_size_limit(limit)
    return dict(zip(columns, cells, strict=True))


def _parse_json_lines(text: str, columns: Sequence[str], name: str) -> dict[str, list[Any]]:
    cells: dict[str, list[Any]] = {column: [] for column in columns}
    for number, line in enumerate(text.split("\n"), start=1):  # U+2028 may stand inside a row
        if not line.strip():
            continue
        where = f"{name}: line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where} is not JSON: {brief(error)}") from error
        if not isinstance(row, dict):
            raise DataError(f"{where} is {brief(line)}; allowed: one JSON object a line")
        check_columns(where, columns, list(row))
        for column, values in cells.items():
            values.append(row[column])
    return cells


def _read_parquet(path: Path, columns: Sequence[str], name: str) -> dict[str, list[Any]]:
    import pyarrow as pa  # here: most tasks never open one
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as raw, pq.ParquetFile(raw) as file:
            check_columns(name, columns, file.schema_arrow.names)
            table = file.read(columns=list(columns))
        return {column: table[column].to_pylist() for column in columns}
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: a text is not UTF-8") from error
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        if isinstance(error, DataError):
            raise
        if isinstance(error, OSError) and error.strerror:  # Arrow's own have none
            raise DataError(f"{name}: cannot be read: {error.strerror}") from error
        raise DataError(f"{name}: not readable as Parquet: {brief(error, 120)}") from error
