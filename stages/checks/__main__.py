"""Everything that `make report` looks at before `dvc repro`, in this order."""

from __future__ import annotations

from fishpal.params.load import Params
from stages.checks import cache, lock, params, place, sources
from stages.runner import run


def main(loaded: Params) -> None:
    for check in (params, place, lock, sources, cache):
        check.main(loaded)


if __name__ == "__main__":
    run(main)
