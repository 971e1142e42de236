"""The sweep behind `train.learning_rate` (protocol, design §7.2).

    python -m studies.learning_rates

Trains each kind's uniform plan at a few peak rates on the default task's fit part and scores it on
the selection part alone. The head's rate comes first, from the plan without modules; the kinds
follow with that rate for the head. Needs the artifacts up to `tokenize`; writes
`reports/learning_rates.md`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from fishpal.common.files import write_text
from fishpal.common.kinds import ModuleKind
from fishpal.encoders.encoder import facts_of, load_encoder
from fishpal.encoders.pooling import load_pooling
from fishpal.models.head import start_head
from fishpal.models.planned import plan_model
from fishpal.models.predict import decide, predict
from fishpal.params.load import Params, load_params
from fishpal.params.options import LearningRates
from fishpal.records.arrow import ArrowSplit
from fishpal.records.facts import TaskFacts
from fishpal.records.plan import Plan, Reason
from fishpal.training.train import train

ARTIFACTS = Path("artifacts")
GRID = {
    "head": (1e-3, 3e-3, 1e-2, 3e-2),
    "lora": (5e-4, 1.5e-3, 5e-3),
    "adapter": (5e-4, 1.5e-3, 5e-3),
    "prefix": (3e-3, 1e-2, 3e-2),
}
Row = tuple[str, float, float, float, int]


def run(params: Params, task: str, kind: str, rates: LearningRates, seed: int) -> Row:
    """Train one uniform plan; kind, rate, best selection loss, its accuracy, best update."""
    tokens = ARTIFACTS / "tokens" / task
    encoder, pooling = load_encoder(ARTIFACTS / "encoder"), load_pooling(ARTIFACTS / "encoder")
    facts, fit = TaskFacts.load(tokens / "task.json"), ArrowSplit(tokens / "fit.arrow")
    selection = ArrowSplit(tokens / "selection.arrow")
    layers = facts_of(encoder).layers
    chosen = None if kind == "head" else ModuleKind(kind)
    plan = Plan(
        task, kind, facts_of(encoder), (chosen,) * layers, Reason("uniform"),
        modules=params.modules, learning_rate=rates,
    )  # fmt: skip
    head = start_head(encoder, pooling, facts, fit, params.head)
    model = plan_model(encoder, head, plan, pooling, seed, train_head=True)
    result = train(model, plan, fit, selection, facts, params.train, seed, progress=False)
    labels = np.array([example.label for example in selection])
    right = decide(predict(model, selection, facts), regression=False) == labels
    rate = float(getattr(rates, kind))
    return kind, rate, result.best_loss, float(right.mean()), result.best_update


def report(params: Params, task: str, rows: Sequence[Row], seed: int) -> str:
    sizes = params.task(task).sizes
    lines = [
        "# Learning rates",
        "",
        f"Uniform plans on `{task}`: {sizes.fit} fit examples, {params.train.epochs} epochs, batch"
        f" {params.train.batch_size}, seed {seed}; scored on the selection part"
        f" ({sizes.selection} examples), which is no part of any reported split.",
        "",
        "| kind | peak rate | best selection loss | accuracy there | at update |",
        "|---|---|---|---|---|",
    ]
    for kind, rate, loss, accuracy, update in rows:
        best = loss == min(row[2] for row in rows if row[0] == kind)
        shown = f"**{loss:.4f}**" if best else f"{loss:.4f}"
        lines.append(f"| {kind} | {rate:g} | {shown} | {accuracy:.3f} | {update} |")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="movies")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    params = load_params()
    rates, rows = params.train.learning_rate, []
    with tqdm(total=sum(map(len, GRID.values())), desc="sweep", disable=None) as bar:
        for kind, values in GRID.items():
            for value in values:
                tried = replace(rates, **{kind: value})
                rows.append(run(params, given.task, kind, tried, given.seed))
                bar.update()
            best = min((row for row in rows if row[0] == kind), key=lambda row: row[2])
            rates = replace(rates, **{kind: best[1]})
    text = report(params, given.task, rows, given.seed)
    write_text("reports/learning_rates.md", text)


if __name__ == "__main__":
    main()
