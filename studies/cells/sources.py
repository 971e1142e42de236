"""The rows of a study's tasks, and its encoder."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import pandas as pd

from fishpal.api.encoder import TextEncoder, load_encoder
from fishpal.api.task import Task
from fishpal.tasks.frames import read_frame

ENCODER = "artifacts/encoder"  # of the project: `dvc repro encoder`


@dataclass(frozen=True)
class Rows:
    """How many of a task's rows are used."""

    fit: int
    selection: int
    evaluation: int


@dataclass(frozen=True)
class Source:
    """Where a task's rows are, and which columns count."""

    train: str
    test: str
    text: tuple[str, ...]
    label: str
    regression: bool


@cache
def project_encoder() -> TextEncoder:
    """The project's."""
    return load_encoder(ENCODER)


def task_options(name: str, source: Source, train: pd.DataFrame) -> dict[str, Any]:
    """What both parts of a task are made with: the classes are those of train."""
    named: dict[str, Any] = {"regression": source.regression, "name": name}
    classes = None if source.regression else sorted(train[source.label].unique().tolist())
    return named if classes is None else named | {"classes": classes}


def drawn_task(name: str, source: Source, rows: Rows) -> tuple[Task, Task]:
    """Train rows, and evaluation rows drawn at random; files of the project's root."""
    columns, text = [*source.text, source.label], list(source.text)
    train, test = (read_frame(path, columns) for path in (source.train, source.test))
    named = task_options(name, source, train)
    drawn = test.sample(min(rows.evaluation, len(test)), random_state=0)
    task = Task.from_frame(
        train, text, source.label, fit=rows.fit, selection=rows.selection, **named
    )
    return task, Task.from_frame(drawn, text, source.label, **named)
