"""Writing that never leaves half a file, and reading that names the file when it fails."""

import csv
import glob
import hashlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from fishpal.common.errors import FishpalError, PlanError, brief

# Process numbers mean something on one machine alone, and folders may be shared.
_MACHINE = f"{uuid.getnode():x}"


@contextmanager
def replacing(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path; when the block ends well, it takes the target's place.

    The block may make the path a file or a folder. On any failure nothing of it stays and
    the target keeps what it held; what a killed process left goes with the next writing.
    """
    target = Path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target)
        prefix = f".{target.name}.{_MACHINE}-{os.getpid()}."
        holder = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
    except OSError as error:
        raise _cannot_write(target, error) from error
    try:
        draft = holder / target.name
        yield draft
        if target.is_dir() and not target.is_symlink():
            target.rename(holder / "old")  # a folder cannot be renamed over a full one
        draft.replace(target)
    except (OSError, SafetensorError) as error:  # the latter for a full disk, too
        raise _cannot_write(target, error) from error
    finally:
        shutil.rmtree(holder, ignore_errors=True)


def _sweep(target: Path) -> None:
    """Remove what killed writers of the target left: a kill -9 lets nobody tidy up."""
    for holder in target.parent.glob(f".{glob.escape(target.name)}.{_MACHINE}-*.*"):
        writer = holder.name.rsplit("-", 1)[-1].split(".")[0]
        if writer.isdecimal() and not _runs(int(writer)):
            shutil.rmtree(holder, ignore_errors=True)


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
