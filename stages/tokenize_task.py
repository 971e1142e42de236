"""Tokenise a task's splits, with train cut into its fit and selection parts."""

from __future__ import annotations

from fishpal.params.load import Params
from fishpal.tokens.tokenization import tokenize_task
from stages.runner import ARTIFACTS, run


def main(params: Params, name: str) -> None:
    sizes = params.task(name).sizes
    raw, target = ARTIFACTS.raw(name), ARTIFACTS.tokens(name)
    tokenize_task(raw, ARTIFACTS.encoder, target, params.tokenize, sizes, name)


if __name__ == "__main__":
    run(main, "task")
