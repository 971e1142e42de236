"""Check params.yaml as a whole before any stage runs; no stage of the pipeline itself."""

from __future__ import annotations

from fishpal.params.load import Params
from fishpal.selection.criteria import check_criterion
from stages.runner import run


def main(params: Params) -> None:
    check_criterion(params.select.criterion, "select.criterion")
    for name, method in params.methods.items():
        if method.criterion is not None:
            check_criterion(method.criterion, f"methods.{name}.criterion")


if __name__ == "__main__":
    run(main)
