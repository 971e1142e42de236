"""A copy of the project with a tiny encoder and tiny tasks, driven by the real `dvc`."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.toy.project import ROOT, Change, edit_yaml, write_project
from benchmarks.toy.warm import warm_bin

ENV = os.environ | {
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "TOKENIZERS_PARALLELISM": "false",
}


class Clone:
    """A copy of the project with a pipeline of its own.

    DVC and its stages run in forks of one warm process, or, with `warm` false, as a user's do.
    """

    timeout = 500.0  # seconds a command

    def __init__(self, root: Path, warm: bool = True) -> None:
        self.root = root
        self.env = ENV | ({"PATH": f"{warm_bin()}:{ENV['PATH']}"} if warm else {})
        self.interpreter = str(warm_bin() / "python") if warm else sys.executable
        listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in filter(None, names.split("\0")):
            own = name == "dvc.lock" or name.startswith("reports/")  # of the real pipeline's run
            if (ROOT / name).is_file() and (not own or name.startswith("reports/study")):
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, root / name)
        write_project(root)
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "start"]):
            self.git(*command)

    def edit(self, change: Change) -> None:
        """Change params.yaml."""
        edit_yaml(self.root / "params.yaml", change)

    def git(self, *command: str) -> None:
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
        subprocess.run(["git", *identity, *command], cwd=self.root, check=True, capture_output=True)

    def python(self, *command: str, fails: bool = False) -> str:
        """What `python -m <command>` said; its errors, too, where it has to fail."""
        done = subprocess.run(
            [self.interpreter, "-m", *command], cwd=self.root, env=self.env,
            capture_output=True, text=True, timeout=self.timeout,
        )  # fmt: skip
        if (done.returncode != 0) != fails:
            raise RuntimeError(f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done.stdout + done.stderr if fails else done.stdout

    def dvc(self, *command: str, fails: bool = False) -> str:
        return self.python("dvc", *command, fails=fails)

    def check(self) -> str:
        """Run the checks of `make report`; what they had to say."""
        checks = [self.interpreter, "-m", "stages.checks"]
        return subprocess.run(
            checks, cwd=self.root, env=self.env, capture_output=True, text=True, check=True
        ).stderr

    def repro(self, *targets: str) -> set[str]:
        """Reproduce all, or up to the targets; the stages that really ran."""
        return set(re.findall(r"Running stage '([^']+)'", self.dvc("repro", *targets)))

    @contextmanager
    def changed(self, change: Change) -> Iterator[set[str]]:
        """Reproduce with a changed params.yaml; go back after the block."""
        before = (self.root / "params.yaml").read_bytes()
        self.edit(change)
        try:
            yield self.repro()
        finally:
            (self.root / "params.yaml").write_bytes(before)

    def plan(self, method: str = "fishpal", task: str = "toy") -> Any:
        return json.loads((self.root / f"artifacts/plans/{task}/{method}.json").read_text())


NOT_COMPARED = {"seconds", "checkpoints", "results.md", "results.html", "study", "study.md"}


def outputs(root: Path) -> dict[str, bytes]:
    """Every result but seconds, what shows them, and what only spares work."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for folder in ("artifacts", "reports")
        for path in sorted((root / folder).rglob("*"))
        if path.is_file() and not NOT_COMPARED & set(path.parts)
    }
