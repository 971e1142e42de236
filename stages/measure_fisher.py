"""Measure every candidate's Fisher information on a task's fit part."""

from __future__ import annotations

from fishpal.config import Params
from fishpal.encoder import config_of, load_encoder
from fishpal.fisher import is_main_process, measure_fisher
from fishpal.head import start_head
from fishpal.pooling import load_pooling
from fishpal.specs import limits_of
from fishpal.tokens import ArrowSplit, TaskFacts
from stages.runner import ARTIFACTS, run, seconds_to


def main(params: Params, task: str) -> None:
    params.task(task)
    tokens, table_path = ARTIFACTS / "tokens" / task, ARTIFACTS / "fisher" / f"{task}.json"
    with seconds_to(ARTIFACTS / "seconds" / "fisher" / f"{task}.json"):
        encoder = load_encoder(ARTIFACTS / "encoder")
        pooling = load_pooling(ARTIFACTS / "encoder")
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
            table.save(table_path)
            grams.save(table_path.with_suffix(".safetensors"))


if __name__ == "__main__":
    run(main, "task")
