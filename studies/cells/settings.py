"""A study's study.yaml → one checked object."""

from pathlib import Path
from typing import TypeVar

from fishpal.common.validate import decode
from fishpal.params.yaml import parse_yaml

Settings = TypeVar("Settings")


def read_study(kind: type[Settings], room: Path) -> Settings:
    """Of the study that lives there; `PlanError` naming key, value and what is allowed."""
    path = room / "study.yaml"
    found: Settings = decode(kind, parse_yaml(path.read_text("utf-8"), str(path)), str(path))
    return found
