"""Tables from files, cell by cell as they were written: no guessing of types or missing words.

| format | ending | rows |
|---|---|---|
| `csv` | `.csv` | RFC 4180; every cell is a text, also `NA` and `null` |
| `tsv` | `.tsv` | tab-separated cells without quoting, as GLUE's files are |
| `jsonl` | `.jsonl`, `.json` | JSON Lines: one object a line |
| `parquet` | `.parquet` | as it is |

A csv or tsv has a header, or columns that are named "0", "1", … The text formats may be compressed:
`.bz2`, `.gz` or `.xz` after the ending. They are UTF-8.
"""

import bz2
import csv
import gzip
import io
import json
import lzma
import sys
import zlib
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Literal

import pandas as pd

from fishpal.common.errors import DataError, brief, caution, hint, one_of

COMPRESSIONS = (".bz2", ".gz", ".xz")
CHUNK = 1 << 20  # bytes that are decompressed at once
ENDINGS = {".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".json": "jsonl", ".parquet": "parquet"}
FORMATS = ("csv", "tsv", "jsonl", "parquet")
ALLOWED = ", ".join(ENDINGS) + "; all but .parquet also with .bz2, .gz or .xz; or format: "
ALLOWED += ", ".join(FORMATS)
QUOTING: dict[str, Literal[0, 3]] = {"minimal": csv.QUOTE_MINIMAL, "none": csv.QUOTE_NONE}
# What is no UTF-8 begins with
STARTS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd": "xz", b"PK": "zip", b"\xff\xfe": "UTF-16"}


def read_frame(
    path: str | Path,
    columns: Sequence[str | int],
    name: str | None = None,
    *,
    format: str | None = None,
    header: bool = True,
    quoting: str | None = None,
) -> pd.DataFrame:
    """Read some columns of a table; every cell stays the Python value that the file holds.

    Args:
        columns: the columns wanted; the others are left out. Numbers from 0 without a header.
        name: what messages call the file; its path unless given.
        format: csv, tsv, jsonl or parquet; by the ending unless given.
        header: whether the first row of a csv or tsv names its columns.
        quoting: of a csv (unless given: minimal) or tsv (none): none takes quotes as they stand.

    Returns:
        Columns of dtype object named by texts, index 0, 1, … in the file's order.

    Raises:
        DataError: naming the file, and row or byte where known.
    """
    path, name = Path(path), name or str(path)
    wanted = [str(column) for column in columns]
    format, compression = _format_of(path, name, format)
    if format in FORMATS[2:] and not (header and quoting is None):
        raise DataError(f"{name}: is {format}; allowed with header and quoting: csv, tsv")
    if quoting not in (None, *QUOTING):
        raise DataError(one_of(f"{name}: quoting", quoting, QUOTING))
    if format == "parquet":
        cells = _read_parquet(path, wanted, name)
    else:
        text = _read_text(path, compression, name)
        if not text.strip():
            raise DataError(f"{name}: is empty; allowed: one row or more")
        if format == "jsonl":
            cells = _parse_json_lines(text, wanted, name)
        else:
            dialect = (",", "minimal") if format == "csv" else ("\t", "none")
            cells = _parse_delimited(text, wanted, name, dialect[0], quoting or dialect[1], header)
            if format == "tsv" and quoting is None:
                _warn_of_quotes(cells, name)
    frame = pd.DataFrame({key: pd.Series(values, dtype=object) for key, values in cells.items()})
    if frame.empty:
        raise DataError(f"{name}: holds no rows; allowed: one or more")
    return frame


def check_columns(name: str, columns: Sequence[str], present: Sequence[str], how: str = "") -> None:
    """Raise `DataError` naming the first missing column, those that are there, and `how` read."""
    for column in columns:
        if column not in present:
            allowed = brief(", ".join(brief(c) for c in present), 300)
            near = hint(column, present)
            raise DataError(f"{name}: no column '{brief(column)}'{near}; allowed: {allowed}{how}")


def _format_of(path: Path, name: str, given: str | None) -> tuple[str, str]:
    """The format, given or by the ending, and the ending of the compression, if any."""
    compression = path.suffix.lower() if path.suffix.lower() in COMPRESSIONS else ""
    ending = Path(path.stem if compression else path.name).suffix.lower()
    format = given or ENDINGS.get(ending, "")
    if format not in FORMATS or (compression and format == "parquet"):
        what = f"ending is '{brief(ending + compression)}'"
        raise DataError(f"{name}: {f'format is {given}' if given else what}; allowed: {ALLOWED}")
    return format, compression


def _read_text(path: Path, compression: str, name: str) -> str:
    try:
        with path.open("rb") as file:
            data = _decompressed(file, compression)
    except (lzma.LZMAError, zlib.error, gzip.BadGzipFile, EOFError) as error:
        raise DataError(f"{name}: not readable as {compression}: {brief(error)}") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _unreadable(path, name, error) from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        kind = "".join(f" but {STARTS[start]}" for start in STARTS if data.startswith(start))
        raise DataError(f"{name}: byte {error.start} in line {line} is not UTF-8{kind}") from error


def _decompressed(file: BinaryIO, compression: str) -> bytes:
    """All of its streams: `bz2.open` and `lzma.open` take a damaged later one for its end."""
    if compression not in (".bz2", ".xz"):
        return gzip.open(file).read() if compression else file.read()
    new = bz2.BZ2Decompressor if compression == ".bz2" else lzma.LZMADecompressor
    stream, rest, found = new(), b"", list[bytes]()
    while data := rest or file.read(CHUNK):
        if stream.eof:
            data = data.lstrip(b"\0") if compression == ".xz" else data  # which may be padded
            stream = new() if data else stream
        found.append(stream.decompress(data) if data else b"")
        rest = stream.unused_data if data else b""
    if not stream.eof:
        raise EOFError("ends before its last stream does")
    return b"".join(found)


def _unreadable(path: Path, name: str, error: Exception) -> DataError:
    reason = getattr(error, "strerror", None) or brief(error)
    if isinstance(error, FileNotFoundError) and set(str(path)) & set("~*?["):
        reason += "; allowed: one file, its path without ~ and patterns"
    return DataError(f"{name}: cannot be read: {reason}")


def _parse_delimited(
    text: str, columns: Sequence[str], name: str, delimiter: str, quoting: str, header: bool
) -> dict[str, list[Any]]:
    source = io.StringIO(text, newline="")
    reader = csv.reader(source, delimiter=delimiter, quoting=QUOTING[quoting], strict=True)
    # The default of 131,072 characters a cell is below a long document; the file is in memory.
    limit = csv.field_size_limit(sys.maxsize)
    try:
        rows = filter(None, reader)  # without empty lines
        first = next(rows, [])
        names = first if header else [str(number) for number in range(len(first))]
        how = f" (cells between {delimiter!r}; header: {str(header).lower()})"
        check_columns(name, columns, names, how)
        if any(names.count(column) > 1 for column in columns):
            raise DataError(f"{name}: header {brief(names)}; allowed: each column once")
        places = [names.index(column) for column in columns]
        cells: dict[str, list[Any]] = {column: [] for column in columns}
        for row in rows if header else chain([first], rows):
            if len(row) != len(names):
                where = f"{name}: line {reader.line_num}"
                raise DataError(f"{where} has {len(row)} cells; allowed: {len(names)}")
            for values, place in zip(cells.values(), places, strict=True):
                values.append(row[place])
    except csv.Error as error:
        raise DataError(f"{name}: line {reader.line_num}: {error}") from error
    finally:
        csv.field_size_limit(limit)
    return cells


def _warn_of_quotes(cells: dict[str, list[Any]], name: str) -> None:
    """Cells of a tsv that a writer with quoting wrote."""
    for column, values in cells.items():
        quoted = [cell for cell in values if _is_quoted(cell)]
        if quoted:
            what = f"column '{brief(column)}' has {len(quoted)} cells as {brief(quoted[0], 40)}"
            caution(f"{name}: {what}, taken as they stand; quoting: minimal reads them as quoted")


def _is_quoted(cell: str) -> bool:
    """Whether it stands between quoting marks, with doubled ones within and no other."""
    within = cell[1:-1]
    framed = len(cell) > 3 and cell[0] == cell[-1] == '"'
    return framed and '""' in within and '"' not in within.replace('""', "")


def _parse_json_lines(text: str, columns: Sequence[str], name: str) -> dict[str, list[Any]]:
    cells: dict[str, list[Any]] = {column: [] for column in columns}
    for number, line in enumerate(text.split("\n"), start=1):  # U+2028 may stand inside a row
        if not line.strip():
            continue
        where = f"{name}: line {number}"
        try:
            row = json.loads(line, object_pairs_hook=_object)
        except DataError as error:
            raise DataError(f"{where}: {error}; allowed: each key once") from error
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where} is not JSON: {brief(error)}") from error
        if not isinstance(row, dict):
            raise DataError(f"{where} is {brief(line)}; allowed: one JSON object a line")
        check_columns(where, columns, list(row))
        for column, values in cells.items():
            values.append(row[column])
    return cells


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; of a key that stands twice `json` would take the last without a word."""
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        raise DataError(f"key '{brief(max(keys, key=keys.count))}' stands twice")
    return made


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
    except (OSError, ValueError, KeyError, OverflowError, pa.ArrowException) as error:
        if isinstance(error, DataError):
            raise
        if isinstance(error, OSError) and error.strerror:  # Arrow's own have none
            raise _unreadable(path, name, error) from error
        raise DataError(f"{name}: not readable as Parquet: {brief(error, 120)}") from error
