"""Writing that never leaves half a file, and reading that names the file when it fails."""

import csv
import glob
import hashlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from fishpal.common.errors import FishpalError, PlanError, brief

# Process numbers mean something on one machine alone, and folders may be shared.
_MACHINE = f"{uuid.getnode():x}"


@contextmanager
def replacing(
    target: str | Path, own: Callable[[Path], bool] | None = None, encoder: Path | None = None
) -> Iterator[Path]:
    """Yield a temporary path; when the block ends well, it takes the target's place.

    The block may make the path a file or a folder. On any failure nothing of it stays and
    the target keeps what it held; what a killed process left goes with the next writing, which
    also puts back what that one had moved away.

    Args:
        own: whether a folder looks like what the caller wrote before: one that holds something
            else is refused. None: whatever lies there is the caller's own.
        encoder: a folder that must stay, too.

    Raises:
        FishpalError: the target cannot be written, or holds what must stay.
    """
    target = Path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target)
        _check_own(target, own, encoder)
        prefix = f".{target.name}.{_MACHINE}-{os.getpid()}."
        holder = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
    except OSError as error:
        raise _cannot_write(target, error) from error
    try:
        draft = holder / target.name
        yield draft
        if target.is_dir() and not target.is_symlink():
            target.rename(_backup(holder, target))  # no folder is renamed over a full one
        draft.replace(target)
    except (OSError, SafetensorError) as error:  # the latter for a full disk, too
        raise _cannot_write(target, error) from error
    finally:
        _tidy(holder, target)


def _check_own(target: Path, own: Callable[[Path], bool] | None, encoder: Path | None) -> None:
    if encoder is not None and encoder.resolve().is_relative_to(target.resolve()):
        raise FishpalError(f"{target}: is where the encoder {encoder} lies; allowed: elsewhere")
    if own is None or not target.is_dir():
        return
    names = sorted(path.name for path in target.iterdir())
    if names and not own(target):
        allowed = "a new or empty folder, or one that the same function wrote"
        raise FishpalError(
            f"{target}: holds files of others, as {brief(names[0])}; allowed: {allowed}"
        )


def _backup(holder: Path, target: Path) -> Path:
    return holder / f"{target.name}.old"  # never the draft's own name, whatever that is


def _tidy(holder: Path, target: Path) -> None:
    """Remove a writer's holder; what it had moved away goes back where nothing came after it."""
    backup = _backup(holder, target)
    if backup.is_dir() and not os.path.lexists(target):
        try:
            backup.rename(target)
        except OSError:  # it stays for the next sweep: nothing else holds it
            return
    shutil.rmtree(holder, ignore_errors=True)


def _sweep(target: Path) -> None:
    """Tidy up after killed writers of the target: a kill -9 lets nobody do so."""
    for holder in target.parent.glob(f".{glob.escape(target.name)}.{_MACHINE}-*.*"):
        writer = holder.name.rsplit("-", 1)[-1].split(".")[0]
        if writer.isdecimal() and not _runs(int(writer)):
            _tidy(holder, target)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def _cannot_write(target: Path, error: Exception) -> FishpalError:
    reason = getattr(error, "strerror", None) or error
    return FishpalError(f"{target}: cannot be written: {reason}")


def sha256_of(path: Path) -> str:
    """Hex digits of a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def reading(
    path: str | Path, what: str, *damage: type[Exception], error: type[FishpalError] = PlanError
) -> Iterator[None]:
    """Let the block read a file, and raise `damage` where it is no `what`; an `error` names it."""
    try:
        yield
    except damage as found:
        raise error(f"{path}: not {what}: {brief(found, 160)}") from found
    except OSError as found:
        raise error(f"{path}: cannot be read: {found.strerror or brief(found, 160)}") from found


def write_text(target: str | Path, text: str) -> None:
    with replacing(target) as draft:
        draft.write_text(text, encoding="utf-8", newline="\n")


def write_json(target: str | Path, value: Any) -> None:
    """Readable, deterministic JSON: keys in the order given, floats in full precision."""
    write_text(target, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(target: str | Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with replacing(target) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def read_json(path: str | Path) -> Any:
    """Parse a JSON file; `PlanError` names one that is missing, not UTF-8 or not JSON."""
    with reading(path, "JSON", ValueError, RecursionError):
        return json.loads(Path(path).read_bytes())


def rounded(value: float) -> float:
    """Nine digits: all that float32 gradients carry, and a file should not differ by an ulp."""
    return float(f"{value:.9g}")
