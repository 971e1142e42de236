"""Check params.yaml as a whole before any stage runs; no stage of the pipeline itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fishpal.common.checks import check_choice
from fishpal.common.errors import ParamsError
from fishpal.params.load import Params
from fishpal.params.methods import Thesis
from fishpal.params.yaml import parse_yaml
from fishpal.selection.thesis import THESIS_PLANS
from stages.runner import run

FILE, PIPELINE = Path("params.yaml"), Path("dvc.yaml")


def main(params: Params) -> None:
    """Reading them has checked them, but for the thesis's plans and for what dvc.yaml asks."""
    for name in params.grid.methods:
        method = params.method(name)
        if isinstance(method, Thesis):
            for task in params.grid.tasks:
                check_choice(f"methods.{name}.plan", method.plan or task, THESIS_PLANS)
    if PIPELINE.is_file():
        _check_followed()


def _check_followed() -> None:
    """Raise unless the file has every key that a stage of dvc.yaml follows.

    One with a default, too: DVC says so only when it comes to that stage.
    """
    given: Any = parse_yaml(FILE.read_text("utf-8"), str(FILE))
    stages: Any = parse_yaml(PIPELINE.read_text("utf-8"), str(PIPELINE))
    for key in {key: None for each in stages["stages"].values() for key in each.get("params", ())}:
        part = given
        for name in () if "${" in key else key.split("."):
            if name not in part:
                what = f"{FILE}: {key} is missing, which {PIPELINE} follows"
                raise ParamsError(f"{what}; allowed: a value (docs/parameters.md)")
            part = part[name]


if __name__ == "__main__":
    run(main)
