"""The working tree as it stands, uncommitted edits included, as a repository that workers clone.

It has one commit, of every file that git does not ignore: code, dvc.yaml, params.yaml, dvc.lock.
The commit also holds where the shared cache is (`.dvc/config.local`), so that a clone needs
nothing else. The project's own repository is only read, and may be missing.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fishpal.common.errors import FishpalError
from fishpal.common.files import replacing

# The same files have to give the same commit, whoever makes it and when.
IDENTITY = {"GIT_AUTHOR_NAME": "fishpal", "GIT_AUTHOR_EMAIL": "fishpal@localhost",
            "GIT_AUTHOR_DATE": "@0 +0000"}  # fmt: skip
IDENTITY |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in IDENTITY.items()}
OWN = ("--git-dir=.git", "--work-tree=.")  # else git takes a damaged clone for part of the project
LISTED = ("ls-files", "--cached", "--others", "--exclude-standard", "-z")


@contextmanager
def alone(shared: Path) -> Iterator[None]:
    """One grid at a time in a folder: a second one waits, and says so."""
    try:
        shared.mkdir(parents=True, exist_ok=True)
        file = (shared / "lock").open("w")
    except OSError as error:
        raise FishpalError(f"{shared}: cannot be written: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.stderr.write(f"another grid works in {shared}: waiting for it\n")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write_seed(root: Path, seed: Path) -> None:
    """Make `seed` a repository of the project in `root`; `FishpalError` where git cannot."""
    with replacing(seed) as draft:
        draft.mkdir()
        git(draft, "init", "--quiet")
        own = [] if _is_under_git(root) else [f"--git-dir={draft / '.git'}", f"--work-tree={root}"]
        for name in filter(None, git(root, *own, *LISTED).split("\0")):
            if (root / name).is_file() or (root / name).is_symlink():  # else: deleted by hand
                (draft / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, draft / name, follow_symlinks=False)
        _write_config(root, draft)
        git(draft, "add", "--all", "--force", ".")
        git(draft, "commit", "--quiet", "--no-verify", "--message", "grid")


def update_clone(seed: Path, clone: Path) -> None:
    """Make `clone` hold the seed's commit; what git ignores stays, so that little is restored."""
    try:
        git(clone, *OWN, "fetch", "--quiet", str(seed), "HEAD")
        git(clone, *OWN, "checkout", "--quiet", "--force", "--detach", "FETCH_HEAD")
        git(clone, *OWN, "clean", "--quiet", "--force", "-d")
    except FishpalError:  # none yet, or one that a full disk or a kill has left damaged
        shutil.rmtree(clone, ignore_errors=True)
        with replacing(clone) as draft:
            git(seed, "clone", "--quiet", str(seed), str(draft))


def git(folder: Path, *command: str) -> str:
    """What git said; its last words are the error."""
    try:
        return subprocess.run(
            ["git", "-c", "core.hooksPath=/dev/null", *command], cwd=folder, check=True,
            env=os.environ | IDENTITY, capture_output=True, text=True,
        ).stdout  # fmt: skip
    except subprocess.CalledProcessError as error:
        said = (error.stderr.strip().splitlines() or ["no words"])[-1]
        raise FishpalError(f"{folder}: git: {said}") from error
    except OSError as error:
        raise FishpalError(f"{folder}: git: {error.strerror}") from error


def _is_under_git(root: Path) -> bool:
    return any((folder / ".git").exists() for folder in (root, *root.parents))


def _write_config(root: Path, draft: Path) -> None:
    """Have clones use the project's cache, by whichever of DVC's settings it got there."""
    from dvc.config import Config  # here: slow to import
    from dvc.repo import Repo

    with Repo(str(root)) as project:
        cache = dict(project.config["cache"]) | {"dir": project.cache.local_cache_dir}
    with Config(str(draft / ".dvc")).edit("local") as local:
        local["cache"] = cache
