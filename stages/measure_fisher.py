"""Measure every candidate's Fisher information on a task's fit part."""

from __future__ import annotations

from fishpal.encoders.encoder import load_encoder
from fishpal.fisher.engine import measure_fisher
from fishpal.models.head import start_head
from fishpal.params.load import Params
from fishpal.records.task import TokenisedTask
from stages.runner import ARTIFACTS, is_main, run, seconds_to


def main(params: Params, name: str) -> None:
    params.task(name)
    with seconds_to(ARTIFACTS.seconds("fisher", name)):
        encoder = load_encoder(ARTIFACTS.encoder)
        task = TokenisedTask.load(ARTIFACTS.tokens(name), encoder.limits, selection=False)
        head = start_head(encoder, task, params.head)
        table, grams = measure_fisher(encoder, head, task, params.modules, params.fisher)
        if is_main():
            table.save(ARTIFACTS.fisher(name))
            grams.save(ARTIFACTS.grams(name))


if __name__ == "__main__":
    run(main, "task", processes=lambda _: 1)
