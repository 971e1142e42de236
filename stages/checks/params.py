"""Check params.yaml as a whole before any stage runs; no stage of the pipeline itself."""

from __future__ import annotations

from fishpal.params.load import Params
from stages.runner import run


def main(params: Params) -> None:
    """Nothing is left to do: reading them has checked them."""


if __name__ == "__main__":
    run(main)
