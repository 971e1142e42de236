"""Measure every candidate's Fisher information on a task's fit part."""

from __future__ import annotations

from fishpal.encoders.encoder import config_of, load_encoder
from fishpal.encoders.pooling import load_pooling
from fishpal.encoders.specs import limits_of
from fishpal.fisher.engine import is_main_process, measure_fisher
from fishpal.models.head import start_head
from fishpal.params.load import Params
from fishpal.records.examples import ArrowSplit, TaskFacts
from stages.runner import ARTIFACTS, run, seconds_to


def main(params: Params, task: str) -> None:
    params.task(task)
    tokens = ARTIFACTS.tokens(task)
    with seconds_to(ARTIFACTS.seconds("fisher", task)):
        encoder, pooling = load_encoder(ARTIFACTS.encoder), load_pooling(ARTIFACTS.encoder)
        facts = TaskFacts.load(tokens / "task.json")
        fit = ArrowSplit(tokens / "fit.arrow").check(facts, limits_of(config_of(encoder)))
        table, grams = measure_fisher(
            encoder,
            start_head(encoder, pooling, facts, fit, params.head),
            fit,
            facts,
            params.modules,
            params.fisher,
            pooling=pooling,
            head_options=params.head,
        )
        if is_main_process():
            table.save(ARTIFACTS.fisher(task))
            grams.save(ARTIFACTS.grams(task))


if __name__ == "__main__":
    run(main, "task")
