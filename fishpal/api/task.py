"""Labelled texts in memory: a task without files."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self, Unpack

import pandas as pd

from fishpal.api.columns import as_columns, as_list, cells_of, texts_of
from fishpal.api.encoder import TextEncoder
from fishpal.api.labels import TaskOptions, checked, numbers_of, single, spec_of
from fishpal.common.checks import check_types
from fishpal.common.errors import DataError, brief, caution
from fishpal.common.texts import TEXTS
from fishpal.encoders.tokenizer import encode, examples_of, readable, unread_of
from fishpal.params import catalog
from fishpal.params.sections import Tokenize, check_name
from fishpal.records.examples import Example
from fishpal.records.facts import TaskFacts
from fishpal.records.task import TokenisedTask
from fishpal.tasks.clean import clean_frame
from fishpal.tasks.frames import check_columns, read_frame
from fishpal.tasks.repeats import text_keys
from fishpal.tokens.scaling import far_label, scale_of
from fishpal.tokens.splitting import split_train
from fishpal.tokens.tokenization import check_length


@dataclass(frozen=True, eq=False)
class Task:
    """Texts, or pairs of texts, with labels as they are.

    Attributes:
        name: for messages and records.
        rows: columns `text`, for pairs `text_pair`, and `label`: class indices or numbers; `group`
            where rows stay together.
        spec: the columns, classes, sizes and metrics, as a catalog's entry has them.
        options: of tokenising and cutting.
    """

    name: str
    rows: pd.DataFrame = field(repr=False)
    spec: catalog.Task
    options: Tokenize
    _tokens: dict[Any, TokenisedTask] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )  # not `init`: one that `replace` makes has other tokens

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        text: str | Sequence[str] = "text",
        label: str = "label",
        **options: Unpack[TaskOptions],
    ) -> Self:
        """Of a pandas frame; `text` names a column, or the two of pairs.

        Raises:
            DataError: naming column and row of a text or label that is none.
            ParamsError: an option that there is not, of the wrong type or out of range.
        """
        options = checked(options)
        name = options.get("name", "task")
        check_name("name", name)
        if not isinstance(frame, pd.DataFrame):
            raise DataError(f"{name}: frame is {type(frame).__name__}; allowed: a pandas frame")
        texts, group = texts_of(text), options.get("group")
        columns = catalog.Columns(texts, str(label), None if group is None else str(group))
        frame = frame.rename(columns=str).reset_index(drop=True)
        needed = catalog.needed_columns(columns, None)
        check_columns(name, needed, list(frame.columns))
        if twice := sorted(set(needed) & set(frame.columns[frame.columns.duplicated()])):
            raise DataError(f"{name}: two columns are named '{twice[0]}'; allowed: one")
        for key in set(needed) - set(texts):
            if frame[key].dtype == object:
                frame[key] = pd.Series(list(map(single, frame[key])), dtype=object)
        spec = spec_of(columns, frame[columns.label], options)
        tokenize = Tokenize(options.get("max_length", 128), options.get("seed", 0))
        return cls(name, clean_frame(spec, frame, name), spec, tokenize)

    @classmethod
    def from_lists(
        cls,
        texts: Iterable[str] | Iterable[tuple[str, str]],
        labels: Iterable[Any],
        groups: Iterable[Any] | None = None,
        **options: Unpack[TaskOptions],
    ) -> Self:
        """Of texts, or pairs of texts, and as many labels; `groups`: see `TaskOptions.group`."""
        options, columns = checked(options), as_columns(texts)
        count, name = len(columns[0]), options.get("name", "task")
        order = getattr(labels, "dtype", None)  # a categorical's classes have one
        order = order if isinstance(order, pd.CategoricalDtype) else None
        labels = as_list(labels, count, name, "labels")
        names = TEXTS[: len(columns)]
        cells = {n: pd.Series(each, dtype=object) for n, each in zip(names, columns, strict=True)}
        frame = pd.DataFrame(cells).assign(label=pd.Series(labels, dtype=order or object))
        if groups is not None:
            together = pd.Series(as_list(groups, count, name, "groups"), dtype=object)
            frame, options["group"] = frame.assign(group=together), "group"
        return cls.from_frame(frame, names, "label", **options)

    @classmethod
    def from_dataset(
        cls,
        dataset: Any,
        text: str | Sequence[str] = "text",
        label: str = "label",
        **options: Unpack[TaskOptions],
    ) -> Self:
        """Of one split of `datasets`, with the names of its classes where it has them.

        Its values are read as Python's, in whatever format it gives them.
        """
        options = checked(options)
        features = getattr(dataset, "features", None)
        if features is None:
            found = type(dataset).__name__
            raise DataError(f"dataset is {found}; allowed: one split, as dataset['train']")
        names = getattr(features.get(label), "names", None)
        wanted = [*texts_of(text), label, *([options["group"]] if "group" in options else [])]
        wanted = list(dict.fromkeys(wanted))
        check_columns(options.get("name", "task"), wanted, list(features))
        frame = pd.DataFrame(cells_of(dataset, wanted))
        if names and not options.get("regression"):
            known = dict(enumerate(names))  # -1, where a row has no label, is none of them
            cells = map(single, frame[label])
            frame[label] = pd.Series([known.get(each) for each in cells], dtype=object)
            options.setdefault("classes", list(names))
        return cls.from_frame(frame, text, label, **options)

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        text: str | int | Sequence[str | int] = "text",
        label: str | int = "label",
        header: bool = True,
        quoting: str | None = None,
        **options: Unpack[TaskOptions],
    ) -> Self:
        """Of a CSV, TSV, JSON Lines or Parquet file, also compressed.

        Args:
            header: whether the first row names the columns; else they are numbered from 0.
            quoting: `none` takes quotes as they stand; None: as the ending says.
            options: without classes, labels that are numbers in their plain spelling are sorted by
                size, and any with fractions make a regression; 01 and 1 stay two texts.
        """
        options = checked(options)
        check_types(path=(path, (str, Path)), header=(header, bool))
        group = [options["group"]] if "group" in options else []
        wanted = list(dict.fromkeys(map(str, [*texts_of(text), label, *group])))
        frame = read_frame(path, wanted, header=header, quoting=quoting)
        if "classes" not in options:
            fractions = options.get("regression", True)
            frame[str(label)] = numbers_of(frame[str(label)], fractions)
        return cls.from_frame(frame, texts_of(text), str(label), **options)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The classes; None: a regression."""
        return None if self.spec.labels is None else tuple(map(str, self.spec.labels))

    def tokenised(self, encoder: TextEncoder) -> TokenisedTask:
        """Cut into fit and selection as the pipeline cuts train, and tokenised."""
        key = encoder.sha256, encoder.folder, encoder.tokens_sha256
        if key not in self._tokens:
            texts, numbers = text_keys(self.rows).tolist(), self.rows["label"].to_numpy()
            seed = self.options.split_seed
            groups = self.rows["group"].tolist() if "group" in self.rows else None
            parts = split_train(numbers, texts, self.spec.sizes, seed, self.name, groups)
            if parts.duplicates:
                what = "texts" if groups is None else "texts or their groups"
                caution(f"{self.name}: {parts.duplicates} {what} stand in selection, too: left out")
            if self.classes and (missing := sorted({*numbers} - {*numbers[parts.fit]})):
                named = brief(", ".join(repr(self.classes[number]) for number in missing))
                caution(f"{self.name}: fit has no row of {named}: nothing is learnt of it")
            scale = None if self.classes else scale_of(numbers[parts.fit], self.name)
            for part, rows in {"fit": parts.fit, "selection": parts.selection}.items():
                if scale is not None:
                    far_label(numbers[rows], scale, self.name, part, numbers[parts.fit])
            pad, pair = encoder.tokenizer.pad_token_id, "text_pair" in self.rows
            facts = TaskFacts(self.name, self.classes, pad, scale, pair)
            make = partial(self.examples, encoder, standardise=facts.standardise)
            found = TokenisedTask(facts, make(parts.fit), make(parts.selection))
            found.check(encoder.limits)
            self._tokens[key] = found
        return self._tokens[key]

    def examples(
        self, encoder: TextEncoder, rows: Any = slice(None), standardise: Any = None
    ) -> list[Example]:
        """Some rows tokenised; their labels as they are, or standardised."""
        part = self.rows.iloc[rows]
        columns = [part[column].tolist() for column in TEXTS if column in part]
        length = readable(self.options.max_length, encoder.limits)
        check_length(encoder.tokenizer, length, pair=len(columns) == 2)
        encoded = encode(encoder.tokenizer, columns, length, encoder.limits)
        warn_of_texts(encoded, encoder.tokenizer, self.name, length)
        labels = part["label"].tolist()
        return examples_of(encoded, [standardise(y) for y in labels] if standardise else labels)


def warn_of_texts(encoded: Any, tokenizer: Any, name: str, length: int) -> None:
    """Warn where texts that `encode` took were longer than `length` tokens, or are none to it."""
    cut = sum(bool(one.overflowing) for one in encoded.encodings)
    total = len(encoded.encodings)
    if cut:
        caution(f"{name}: {cut} of {total} texts were cut at max_length {length}")
    if unread := unread_of(tokenizer, encoded["input_ids"]):
        caution(f"{name}: in {unread} of {total} texts the tokenizer knows nothing")
