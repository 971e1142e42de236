"""Hand-built wheels, tables, tasks and a tiny tokenizer for the tests of the data side."""

from __future__ import annotations

import copy
import json
import stat
from functools import cache
from pathlib import Path
from typing import Any
from zipfile import ZipFile, ZipInfo

import pandas as pd
from ruamel.yaml import YAML
from transformers import BertConfig

from benchmarks.toy import encoder as toy
from benchmarks.toy.encoder import VOCAB
from fishpal.params.catalog import Columns, FilesTask, Sizes, Split, Task
from tests.stages.spoils import place

PARAMS = Path(__file__).parents[2] / "params.yaml"


@cache
def _default_params() -> Any:
    return YAML(typ="safe", pure=True).load(PARAMS.read_text(encoding="utf-8"))


def default_params() -> Any:
    """params.yaml as parsed YAML, free to change."""
    return copy.deepcopy(_default_params())


def changed(path: str, value: Any) -> Any:
    """params.yaml with one key set; `...` deletes it."""
    data = default_params()
    place(data, tuple(path.split(".")), value)
    return data


def make_wheel(path: Path, members: dict[str, str], link: str | None = None) -> Path:
    """A zip with these members; `link` is the path of one more that is a symbolic link."""
    with ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(ZipInfo(name), content)
        if link:
            info = ZipInfo(link)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, "/etc/passwd")
    return path


def task(
    labels: tuple[Any, ...] | None = ("no", "yes"),
    text: tuple[str, ...] = ("text",),
    split: Split | None = None,
    **cleaning: Any,
) -> Task:
    """A task of files; build_splits never reads them."""
    files = {"train": "a.csv"} if split else {"train": "a.csv", "test": "b.csv"}
    return Task(
        source=FilesTask(type="files", files=files, split=split, **cleaning),
        columns=Columns(text=text, label="label"),
        labels=labels,
        sizes=Sizes(),
        metrics=("pearson",) if labels is None else ("accuracy",),
    )


def table(**columns: list[Any]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(cells, dtype=object) for name, cells in columns.items()})


def save_tokenizer(folder: Path, **options: Any) -> Path:
    """The toy tokenizer, for at most 64 tokens, and an encoder's config."""
    toy.save_tokenizer(folder, **{"model_max_length": 64, **options})
    BertConfig(vocab_size=VOCAB, max_position_embeddings=48).save_pretrained(folder)
    return folder


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
