"""Fetch a task's rows, clean them and cut them into splits."""

from __future__ import annotations

from fishpal.params.load import Params
from fishpal.tasks.clean import build_splits, write_task
from fishpal.tasks.rows import load_frames
from stages.runner import ARTIFACTS, run


def main(params: Params, name: str) -> None:
    task = params.task(name)
    frames = load_frames(task.source, task.columns)
    write_task(build_splits(task, frames, name), ARTIFACTS.raw(name))


if __name__ == "__main__":
    run(main, "task")
