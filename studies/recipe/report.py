"""The tables of reports/recipe.md that the study makes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fishpal.reporting.markdown import table
from studies.marked_part import write_part
from studies.recipe.rules import RULES
from studies.recipe.trainings import TRAINED

REPORT = Path("reports/recipe.md")
SETTING = ["task", "updates", "dropout"]
FALLING = "falling rate, last"


def write_report() -> None:
    """Replace what stands between the marks in the report."""
    found = trained()
    falling, constant = found[~found.constant], found[found.constant]
    tables = [
        by_rule(falling), by_dropout(falling), by_average(falling, constant), by_length(falling),
    ]  # fmt: skip
    write_part(REPORT, "studies/recipe", "\n\n".join(tables))


def trained() -> pd.DataFrame:
    """A row a training and rule."""
    named = ("task", "updates", "dropout", "constant", "seed", "kind")
    rows: list[dict[str, Any]] = []
    for line in TRAINED.lines():
        own = {name: line[name] for name in named}
        rows += [own | {"rule": rule} | found for rule, found in line["rules"].items()]
    return pd.DataFrame(rows)


def by_rule(found: pd.DataFrame) -> str:
    """A row a setting: every rule's mean score in points and mean loss."""
    rows = []
    groups = [(key, group) for key, group in found.groupby(SETTING, sort=False)]
    for (task, updates, dropout), group in [*groups, (("all", "", ""), found)]:
        cells = _scores(group, RULES)
        word = {True: "on", False: "off"}.get(dropout, "")
        number = len(group) // len(RULES)
        rows.append([task, str(updates), word, str(number), *cells])
    return table(["task", "updates", "dropout", "trainings", *RULES], rows)


def by_dropout(found: pd.DataFrame) -> str:
    """Off minus on, of the same task, length, kind and seed: mean and standard error."""
    own = found[found.rule == "refined"]
    keys = ["task", "updates", "kind", "seed"]
    wide = own.pivot(index=keys, columns="dropout", values=["score", "loss"]).dropna()
    rows = []
    groups: Sequence[tuple[Any, pd.DataFrame]] = [*wide.groupby(["task", "updates"], sort=False)]
    for (task, updates), group in [*groups, (("all", ""), wide)]:
        points = 100 * (group["score", False] - group["score", True])
        losses = group["loss", False] - group["loss", True]
        spread = [_mean(points, "{:+.1f} ± {:.1f}"), _mean(losses, "{:+.3f} ± {:.3f}")]
        rows.append([task, str(updates), str(len(group)), *spread])
    header = ["task", "updates", "pairs", "score, points, off − on", "loss, off − on"]
    return table(header, rows)


def by_average(falling: pd.DataFrame, constant: pd.DataFrame) -> str:
    """A row a task: the falling rate's last look, and a constant rate's looks and averages."""
    shared = ["task", "updates", "dropout", "seed", "kind"]
    ours = falling[falling.rule == "last"].assign(rule=FALLING)
    ours = ours.merge(constant[shared].drop_duplicates(), on=shared)
    rules = ["last", "lowest", "average, last", "average, lowest"]
    both = pd.concat([ours, constant[constant.rule.isin(rules)]])
    rows = []
    for task, group in [*both.groupby("task", sort=False), ("all", both)]:
        cells = _scores(group, [FALLING, *rules])
        rows.append([task, str(len(group) // len(cells)), *cells])
    header = [f"constant rate, {rule}" for rule in rules]
    return table(["task", "trainings", FALLING, *header], rows)


def by_length(found: pd.DataFrame) -> str:
    """A row a task: what `refined` gets of every length, over the kinds of one seed."""
    own = found[(found.rule == "refined") & ~found.dropout & (found.seed == 0)]
    lengths = sorted(own.updates.unique())
    rows = []
    for task, group in own.groupby("task", sort=False):
        parts = (group[group.updates == length] for length in lengths)
        rows.append(
            [task, *("" if part.empty else _scores(part, ["refined"])[0] for part in parts)]
        )
    return table(["task", *map(str, lengths)], rows)


def _scores(group: pd.DataFrame, rules: Sequence[str]) -> list[str]:
    """Of every rule, the mean score in points and the mean loss."""
    own = [group[group.rule == rule] for rule in rules]
    return [f"{100 * each.score.mean():.1f} ({each.loss.mean():.3f})" for each in own]


def _mean(values: pd.Series, form: str) -> str:
    """Mean and standard error."""
    return form.format(values.mean(), values.std(ddof=1) / np.sqrt(len(values)))
