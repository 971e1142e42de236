"""Fetch a task's rows, clean them and cut them into splits."""

from __future__ import annotations

from fishpal.config import Params
from fishpal.sources import load_frames
from fishpal.tasks import build_splits, write_task
from stages.runner import ARTIFACTS, run


def main(params: Params, name: str) -> None:
    task = params.task(name)
    frames = load_frames(task.source, task.columns)
    write_task(build_splits(task, frames, name), ARTIFACTS / "raw" / name)


if __name__ == "__main__":
    run(main, "task")
