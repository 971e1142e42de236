"""Made rows of a task, raw and tokenised, as many as asked for."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.toy.encoder import WORDS
from benchmarks.work import ANY
from fishpal.records.arrow import write_split
from fishpal.records.card import Card, SplitCard
from fishpal.records.facts import TaskFacts
from fishpal.records.paths import FIT, SELECTION, TASK
from fishpal.records.task import TokenisedTask


def raw_rows(folder: Path, rows: int) -> Path:
    """A clean task as `download` leaves it: so many rows of 4 to 12 words, 100 in test."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split, count in (("train", rows), ("test", 100)):
        words = np.array(WORDS)[rng.integers(len(WORDS), size=12 * count)].tolist()
        sizes = rng.integers(4, 13, size=count).tolist()
        text = [" ".join(words[12 * n : 12 * n + size]) for n, size in enumerate(sizes)]
        columns = {"text": text, "label": rng.integers(2, size=count)}
        pq.write_table(pa.table(columns), folder / f"{split}.parquet")
    splits = {"train": SplitCard(rows), "test": SplitCard(100)}
    Card("toy", {}, {}, ("a", "b"), splits, {}, {}, 0).save(folder / "card.json")
    return folder


def tokens(rows: int, root: Path) -> TokenisedTask:
    """So many rows of fit, in thousands of the same ones, and one of selection."""
    (root / "tokens/train").mkdir(parents=True)
    TaskFacts("toy", ("a", "b"), 0).save(root / "tokens" / TASK)
    words: dict[str, list[Any]] = {
        "input_ids": [[7] * (3 + n % 12) for n in range(1000)],
        "label": [0, 1] * 500,
    }
    write_split(root / "tokens" / FIT, itertools.repeat(words, rows // 1000), floats=False)
    write_split(root / "tokens" / SELECTION, iter([words]), floats=False)
    return TokenisedTask.load(root / "tokens", ANY)
