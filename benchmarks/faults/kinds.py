"""What can befall a running pipeline, and its artifacts."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

RUNNING = ("kill stage", "kill dvc", "kill dvc and its children", "Ctrl-C", "terminate dvc")
STORED = ("remove an artifact", "flip a byte of an artifact", "remove a cached file",
          "flip a byte of a cached file")  # fmt: skip
DISK, NETWORK = "full disk", "network cut in a download"
Process = subprocess.Popen[bytes]


def strike(kind: str, process: Process) -> bool:
    """Do it to a running `dvc repro`, the leader of a group of its own; False: nothing to hit."""
    try:
        children = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return False
    if process.poll() is not None:
        return False
    if kind == "kill stage":
        stages = [child for child in children if _is_stage(child)]
        for stage in stages:
            _quietly(stage.kill)
        return bool(stages)
    if kind == "kill dvc":
        process.kill()
    elif kind == "kill dvc and its children":
        os.killpg(process.pid, signal.SIGKILL)
        for child in children:
            _quietly(child.kill)
    elif kind == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.terminate()
    return True


def damage(kind: str, root: Path, rng: random.Random) -> str:
    """Remove a file, or flip one bit of it, in the artifacts or in DVC's cache; its path."""
    cache = root / ".dvc" / "cache" / "files"
    folder = cache if "cached" in kind else root / "artifacts"
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.stat().st_size and "seconds" not in path.parts
    ]
    path = rng.choice(files)
    if kind.startswith("remove"):
        path.unlink()
    else:
        content = bytearray(path.read_bytes())
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        mode = path.stat().st_mode
        path.chmod(0o644)
        path.write_bytes(content)
        path.chmod(mode)  # DVC trusts a read-only file of its cache
    return str(path.relative_to(root))


class Disk:
    """A small file system of its own in memory, where the machine lets us mount one."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
        try:
            self.mounted = subprocess.run(command, capture_output=True).returncode == 0
        except OSError:
            self.mounted = False
        self._own(folder)

    def _own(self, folder: Path) -> None:
        self.folder, self._ballast = folder, folder / "ballast"

    def fill(self, spare: int) -> None:
        """Leave `spare` bytes free."""
        state = os.statvfs(self.folder)
        with suppress(OSError), self._ballast.open("wb") as file:  # what runs may fill it first
            os.posix_fallocate(file.fileno(), 0, max(state.f_bavail * state.f_frsize - spare, 1))

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)

    def unmount(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.folder)], capture_output=True, check=False)


def _is_stage(process: psutil.Process) -> bool:
    try:
        return any(part.startswith("stages.") for part in process.cmdline())
    except psutil.Error:
        return False


def _quietly(action: Callable[[], object]) -> None:
    try:
        action()
    except psutil.Error:
        return
