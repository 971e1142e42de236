"""A small project with all its artifacts: every stage has run in it."""

from __future__ import annotations

import os
import runpy
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from benchmarks.toy.project import edit_yaml, write_project

METHODS = ("fishpal", "lora")
TIMEOUT = 300  # seconds, on a machine that does much else
STAGES = [
    "checks.params",
    "prepare_encoder",
    "download_task toy",
    "tokenize_task toy",
    "measure_fisher toy",
    "run_pilot toy",
    *(f"select_plan toy {method}" for method in METHODS),
    *(f"train_plan toy {method} 0" for method in METHODS),
    *(f"evaluate_plan toy {method} 0" for method in METHODS),
    "write_report",
]


def run_stage(root: Path, command: str, log: Path, package: str = "stages") -> int:
    """A stage in a forked child, its words in `log`; a new interpreter would cost seconds."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 99
        try:
            with log.open("wb") as file:
                for number in (1, 2):
                    os.dup2(file.fileno(), number)
            sys.stdout, sys.stderr = (os.fdopen(n, "w", closefd=False) for n in (1, 2))
            os.chdir(root)
            signal.alarm(TIMEOUT)
            module, *sys.argv[1:] = command.split()
            runpy.run_module(f"{package}.{module}", run_name="__main__")
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
            if isinstance(end.code, str):
                sys.stderr.write(end.code + "\n")
        except BaseException:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _one_task(params: dict[str, Any]) -> None:
    params["grid"]["methods"] = list(METHODS)
    params["catalog"].pop("other")


def build(root: Path) -> Path:
    """Make the folder `root` such a project, its log beside it."""
    write_project(root)
    edit_yaml(root / "params.yaml", _one_task)
    for stage in STAGES:
        log = root.parent / "log"
        assert run_stage(root, stage, log) == 0, f"{stage}: {log.read_text()}"
    return root
