"""Writing that never leaves half a file, and reading that names the file when it fails."""

import csv
import glob
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fishpal.common.errors import FishpalError, PlanError

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
    except OSError as error:
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


def _cannot_write(target: Path, error: OSError) -> FishpalError:
    return FishpalError(f"{target}: cannot be written: {error.strerror or error}")


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
    """Parse a JSON file.

    Raises:
        PlanError: naming the file, where it is missing, not UTF-8 or not JSON.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except OSError as error:
        raise PlanError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise PlanError(f"{path}: not JSON: {error}") from error


def rounded(value: float) -> float:
    """Nine digits: all that float32 gradients carry, and a file should not differ by an ulp."""
    return float(f"{value:.9g}")
