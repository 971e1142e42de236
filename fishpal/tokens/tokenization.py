"""Clean splits (`artifacts/raw/<task>/`) → tokenised splits (layout: `records.examples`)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fishpal.common.errors import DataError, EncoderError, ParamsError, brief
from fishpal.common.files import replacing
from fishpal.common.progress import tqdm
from fishpal.common.texts import TEXTS, text_key
from fishpal.encoders.specs import limits_of, load_config
from fishpal.encoders.tokenizer import encode, load_tokenizer, unread_of
from fishpal.params.catalog import Sizes, check_split_names
from fishpal.params.sections import Tokenize
from fishpal.records.arrow import ArrowSplit, check_types, write_split
from fishpal.records.card import Card, Counts, SplitCounts
from fishpal.records.facts import Limits, TaskFacts
from fishpal.records.paths import FIT, SELECTION, TASK
from fishpal.tokens.scaling import far_label, scale_of
from fishpal.tokens.splitting import Rows, cut_evaluation, split_train

BATCH = 1_000  # rows tokenised at a time
GROUP = "group"


def tokenize_task(
    raw: Path, encoder: Path, target: Path, options: Tokenize, sizes: Sizes, name: str
) -> None:
    """Tokenise every split of a task into the folder `target`, which appears as a whole.

    Args:
        raw: folder with `<split>.parquet` and `card.json`.
        encoder: folder with the tokenizer's files and the encoder's config.json.
        name: the task's name.

    Raises:
        DataError: train is too small for `sizes`, or a split is not readable.
        EncoderError: no usable tokenizer, or one of another encoder.
        ParamsError: `max_length` does not suit tokenizer and encoder.
    """
    labels, splits = _read_card(raw / "card.json")
    limits, tokenizer = limits_of(load_config(encoder)), load_tokenizer(encoder)
    train = _read_split(raw / "train.parquet", labels)
    texts = [column for column in TEXTS if column in train.column_names]
    check_length(tokenizer, options.max_length, pair=len(texts) == 2)
    keys = list(map(text_key, zip(*(train[column].to_pylist() for column in texts), strict=True)))
    numbers, seed = train["label"].to_numpy(), options.split_seed
    groups = train[GROUP].to_pylist() if GROUP in train.column_names else None
    parts = split_train(numbers, keys, sizes, seed, name, groups)
    scale = None if labels else scale_of(numbers[parts.fit], name)
    facts = TaskFacts(name, labels, tokenizer.pad_token_id, scale, pair=len(texts) == 2)
    usual = None if labels else numbers[parts.fit]
    writer = _Writer(tokenizer, limits, facts, options, usual)
    with replacing(target) as draft:
        draft.mkdir()
        facts.save(draft / TASK)
        writer.write(draft / FIT, train, parts.fit)
        writer.write(draft / SELECTION, train, parts.selection)
        for split in splits:
            table = _read_split(raw / f"{split}.parquet", labels)
            rows = cut_evaluation(table.num_rows, sizes.evaluation, seed)
            if len(np.unique(table["label"].to_numpy()[rows])) < 2:
                what = f"{name}: sizes.evaluation is {sizes.evaluation}, in {split} all with one"
                raise DataError(f"{what} label; allowed: two labels")
            writer.write(draft / "evaluation" / f"{split}.arrow", table, rows)
        Counts(writer.counts, parts.duplicates).save(draft / "counts.json")


def _read_card(path: Path) -> tuple[tuple[str, ...] | None, list[str]]:
    """The class names (None: a regression) and the names of the evaluation splits."""
    card = Card.load(path)
    try:
        check_split_names("splits", card.splits)
    except ParamsError as error:
        raise DataError(f"{path}: {error}") from error
    return card.labels, [split for split in card.splits if split != "train"]


def check_length(tokenizer: Any, max_length: int, pair: bool) -> None:
    """Raise `ParamsError` where `max_length` does not suit the tokenizer."""
    # One token a text at least must fit between the special ones.
    least = tokenizer.num_special_tokens_to_add(pair) + (2 if pair else 1)
    most = tokenizer.model_max_length  # 1e30 where the tokenizer does not know
    if not least <= max_length <= most:
        allowed = f"{least} to {most} for this tokenizer" if most < 1e9 else f"from {least}"
        raise ParamsError(f"tokenize.max_length is {max_length}; allowed: {allowed}")


def _read_split(path: Path, labels: tuple[str, ...] | None) -> pa.Table:
    """A split's rows as one chunk a column, so that taking rows does not search the chunks."""
    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
        # large: 64-bit offsets, since a million long texts may pass 2 GiB in one chunk
        wide = {c: pa.large_string() if c in TEXTS else table[c].type for c in table.column_names}
        table = table.cast(pa.schema(wide)).combine_chunks()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read: {brief(error, 160)}") from error
    if not {"text", "label"} <= set(table.column_names):
        found = ", ".join(table.column_names)
        raise DataError(f"{path}: columns are {found}; allowed: text, text_pair, label")
    text, number = pa.large_string(), pa.float64() if labels is None else pa.int64()
    types = {"text": [text], "text_pair": [text], "label": [number], GROUP: [pa.string()]}
    check_types(path, table, types)
    return table


@dataclass
class _Writer:
    """Tokenises splits into files, and counts what it wrote; `usual`: a regression's fit labels."""

    tokenizer: Any
    limits: Limits
    facts: TaskFacts
    options: Tokenize
    usual: NDArray[np.float64] | None
    counts: dict[str, SplitCounts] = field(default_factory=dict)

    def write(self, path: Path, table: pa.Table, rows: Rows) -> None:
        """Write rows in their order; `EncoderError` for what the encoder does not know."""
        counts, scale = SplitCounts(), self.facts.scale
        self.counts[path.stem] = counts
        if scale is not None:
            labels = table["label"].to_numpy()[rows]
            counts.far = far_label(labels, scale, self.facts.name, path.stem, self.usual)
        write_split(path, self._batches(table, rows, path.stem), self.facts.labels is None)
        try:
            ArrowSplit(path).check(self.facts, self.limits)
        except DataError as error:
            # The rows were checked before: only tokenizer and encoder can disagree.
            found = str(error).replace(str(path), path.stem)  # the draft is gone by then
            raise EncoderError(f"tokenizer and encoder do not fit: {found}") from error
        if self.facts.labels is not None:
            labels = table["label"].to_numpy()[rows]
            counts.labels = np.bincount(labels, minlength=len(self.facts.labels)).tolist()

    def _batches(self, table: pa.Table, rows: Rows, name: str) -> Iterator[dict[str, list[Any]]]:
        """Columns of `BATCH` tokenised rows at a time, in the order of `rows`."""
        counts = self.counts[name]
        columns = [column for column in TEXTS if column in table.column_names]
        with tqdm(total=len(rows), desc=f"tokenize {name}", unit="row", disable=None) as bar:
            for start in range(0, len(rows), BATCH):
                batch = table.take(pa.array(rows[start : start + BATCH]))
                texts = [batch[column].to_pylist() for column in columns]
                encoded = encode(self.tokenizer, texts, self.options.max_length, self.limits)
                ids = encoded["input_ids"]
                counts.rows += len(ids)
                counts.max_tokens = max(counts.max_tokens, *map(len, ids))
                self._check_tokens(name, counts.max_tokens)
                counts.truncated += sum(bool(one.overflowing) for one in encoded.encodings)
                if unread := unread_of(self.tokenizer, ids):
                    counts.unread = (counts.unread or 0) + unread
                names = ("token_type_ids", "second")
                others = {name: encoded[name] for name in names if name in encoded}
                yield {"input_ids": ids, "label": batch["label"].to_pylist(), **others}
                bar.update(len(ids))

    def _check_tokens(self, split: str, tokens: int) -> None:
        if self.limits.tokens is not None and tokens > self.limits.tokens:
            found = f"is {self.options.max_length}, and a text of {split} has {tokens} tokens"
            allowed = f"up to {self.limits.tokens} for this encoder"
            raise ParamsError(f"tokenize.max_length {found}; allowed: {allowed}")
