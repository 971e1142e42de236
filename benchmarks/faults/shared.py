"""A file system of its own, as a folder that machines share is, which can be cut."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from benchmarks.faults.kinds import Disk


class SharedFolder(Disk):
    """In a file; `mounted` is false where the machine lets us mount none."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        image = folder.with_suffix(".image")
        with image.open("wb") as file:
            file.truncate(megabytes << 20)
        made = (
            ["mkfs.ext4", "-q", "-m", "0", str(image)],
            ["mount", "-o", "loop", str(image), str(folder)],
        )
        self.mounted = all(subprocess.run(c, capture_output=True).returncode == 0 for c in made)
        self._own(folder)

    def read_only(self) -> bool:
        """It takes effect between two writings: no file may be open for one."""
        remount = ["mount", "-o", "remount,ro", str(self.folder)]
        for _ in range(100):
            if subprocess.run(remount, capture_output=True).returncode == 0:
                return True
            time.sleep(0.05)
        return False

    def writable(self) -> None:
        subprocess.run(["mount", "-o", "remount,rw", str(self.folder)], check=True)

    def freeze(self) -> None:
        """Whatever writes waits from here on, as for a server that does not answer."""
        subprocess.run(["fsfreeze", "--freeze", str(self.folder)], check=True)

    def thaw(self) -> None:
        subprocess.run(["fsfreeze", "--unfreeze", str(self.folder)], check=True)
