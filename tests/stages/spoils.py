"""Ways to spoil a small project: each gives a function of the project's root."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import load_file, save_file

from benchmarks.toy.project import edit_yaml

Spoil = Callable[[Path], None]


def place(data: Any, keys: tuple[Any, ...], value: Any) -> None:
    """Set a key of nested mappings and lists, or delete it (value `...`)."""
    for one in keys[:-1]:
        data = data[one]
    if value is ...:
        del data[keys[-1]]
    else:
        data[keys[-1]] = value


def param(*keys: str, value: Any) -> Spoil:
    """A key of params.yaml."""

    def spoil(root: Path) -> None:
        edit_yaml(root / "params.yaml", lambda params: place(params, keys, value))

    return spoil


def write(name: str, content: bytes | str) -> Spoil:
    def spoil(root: Path) -> None:
        data = content.encode() if isinstance(content, str) else content
        (root / name).write_bytes(data)

    return spoil


def remove(name: str) -> Spoil:
    def spoil(root: Path) -> None:
        path = root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return spoil


def folder(name: str) -> Spoil:
    """A folder where a file should be."""

    def spoil(root: Path) -> None:
        remove(name)(root)
        (root / name).mkdir()

    return spoil


def cut(name: str, keep: float = 0.5) -> Spoil:
    def spoil(root: Path) -> None:
        content = (root / name).read_bytes()
        (root / name).write_bytes(content[: int(len(content) * keep)])

    return spoil


def key(name: str, *keys: Any, value: Any) -> Spoil:
    """A key of a JSON file."""

    def spoil(root: Path) -> None:
        data = json.loads((root / name).read_text())
        place(data, keys, value)
        (root / name).write_text(json.dumps(data))

    return spoil


def tensors(name: str, change: Callable[[str, Any], tuple[str, Any]]) -> Spoil:
    """Change each name and array of a safetensors file."""

    def spoil(root: Path) -> None:
        arrays = load_file(root / name)
        save_file(dict(change(*item) for item in arrays.items()), root / name)

    return spoil


def table(name: str, change: Callable[[pa.Table], pa.Table]) -> Spoil:
    """Change the rows or columns of a Parquet or Arrow file."""

    def spoil(root: Path) -> None:
        path = root / name
        if path.suffix == ".parquet":
            pq.write_table(change(pq.read_table(path)), path)
            return
        changed = change(pa.ipc.open_file(path.read_bytes()).read_all())
        with pa.ipc.new_file(str(path), changed.schema) as writer:
            writer.write_table(changed)

    return spoil


def filled(column: str, value: Any, kind: pa.DataType) -> Callable[[pa.Table], pa.Table]:
    """A column of one value."""

    def change(found: pa.Table) -> pa.Table:
        at = found.column_names.index(column)
        return found.set_column(at, column, pa.array([value] * len(found), kind))

    return change


def both(*spoils: Spoil) -> Spoil:
    return lambda root: [spoil(root) for spoil in spoils] and None


def row(name: str, text: str) -> Spoil:
    """One more line."""

    def spoil(root: Path) -> None:
        with (root / name).open("a") as file:
            file.write(text + "\n")

    return spoil


def not_numbers(name: str, array: Any) -> tuple[str, Any]:
    return name, array * np.float32("nan") if array.dtype == np.float32 else array


def pickled(name: str) -> Spoil:
    return write(name, pickle.dumps({"weight": [1.0]}))
