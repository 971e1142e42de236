"""Tokenised splits in Arrow files."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from fishpal.common.errors import DataError, FishpalError
from fishpal.common.files import reading, replacing
from fishpal.records.examples import Example, Stored
from fishpal.records.facts import Limits, TaskFacts


class ArrowSplit(Stored):
    """A split in an Arrow IPC file, memory-mapped: a row is read when it is asked for.

    Columns: `input_ids` list<int32>, `label` int64 or float64, and, where the tokenizer makes
    them, `token_type_ids` list<int8>; of pairs, `second` int32.

    `standardised` gives a regression's labels as the model is trained on them, rather than in
    their own unit; needs `check` first, for the task's scale.
    """

    def __init__(self, path: str | Path, standardised: bool = False) -> None:
        import pyarrow as pa  # here, since the core runs on machines without it

        self._path, self._standardised = path, standardised
        self._facts: TaskFacts | None = None
        damage = (OSError, KeyError, UnicodeDecodeError, pa.ArrowException)
        with reading(path, "a tokenised split", *damage, error=DataError):
            self._table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            self._table.validate(full=True)  # else reading a damaged file can end the process
            self._ids, self._labels = self._table["input_ids"], self._table["label"]
        _check_columns(path, self._table)
        has_types = "token_type_ids" in self._table.column_names
        self._types = self._table["token_type_ids"] if has_types else None
        pair = "second" in self._table.column_names
        self._second = self._table["second"] if pair else None

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        types = None if self._types is None else self._types[index].as_py()
        label = self._labels[index].as_py()
        if self._standardised and self._facts is not None:
            label = self._facts.standardise(label)
        second = None if self._second is None else self._second[index].as_py()
        return Example(self._ids[index].as_py(), label, types, second)

    def check(self, facts: TaskFacts, limits: Limits) -> Self:
        """The split; `DataError` where a row is not the task's or beyond the encoder's limits."""
        import pyarrow.compute as pc

        self._within("tokens of a row", pc.list_value_length(self._ids), 1, limits.tokens)
        self._within("input_ids", pc.list_flatten(self._ids), 0, limits.ids - 1)
        if self._types is not None:
            self._within("token_type_ids", pc.list_flatten(self._types), 0, limits.types - 1)
        if facts.pair:
            self._check_second()
        floats = str(self._labels.type) == "double"
        finite = not floats or pc.all(pc.is_finite(self._labels)).as_py()
        if floats != (facts.labels is None) or not finite:
            allowed = "classes, as int64" if facts.labels else "finite float64, as labels is null"
            raise DataError(f"{self._path}: label is {self._labels.type}; allowed: {allowed}")
        if facts.labels is not None:
            self._within("label", self._labels, 0, facts.outputs - 1)
        self._facts = facts
        return self

    def _check_second(self) -> None:
        import pyarrow.compute as pc

        if self._second is None:
            columns = ", ".join(self._table.column_names)
            raise DataError(f"{self._path}: columns are {columns}; allowed for pairs: with second")
        left = pc.subtract(pc.list_value_length(self._ids), self._second)
        self._within("second", self._second, 0, None)
        self._within("tokens from second on", left, 0, None)

    def _within(self, name: str, values: Any, least: int, most: int | None) -> None:
        import pyarrow.compute as pc

        low, high = (value.as_py() for value in pc.min_max(values).values())
        if values.null_count or low < least or (most is not None and high > most):
            found = f"go from {low} to {high} with {values.null_count} nulls"
            allowed = f"{least} to {most}" if most is not None else f"from {least}"
            raise DataError(f"{self._path}: {name} {found}; allowed: {allowed}, no nulls")

    def lengths(self) -> list[int]:
        """Tokens of every row."""
        import pyarrow.compute as pc

        return [int(n) for n in pc.list_value_length(self._ids).to_pylist()]

    def labels(self) -> list[int] | list[float]:
        """Of every row, as its example has it."""
        found: list[Any] = self._labels.to_pylist()
        if self._standardised and self._facts is not None:
            return [self._facts.standardise(label) for label in found]
        return found


def _check_columns(path: str | Path, table: Any) -> None:
    if not table.num_rows:
        raise DataError(f"{path}: holds no rows; allowed: one or more")
    targets = _types_of(floats=True)
    allowed = {name: [kind, targets[name]] for name, kind in _types_of(floats=False).items()}
    check_types(path, table, allowed)


def check_types(path: str | Path, table: Any, allowed: Mapping[str, Sequence[Any]]) -> None:
    """Raise `DataError` where a column that is there has another type than these, or nulls."""
    for name in (name for name in allowed if name in table.column_names):
        found, nulls = table[name].type, table[name].null_count
        if found not in allowed[name] or nulls:
            types = " or ".join(dict.fromkeys(map(str, allowed[name])))
            raise DataError(f"{path}: {name} is {found} with {nulls} nulls; allowed: {types}, none")


def _types_of(floats: bool) -> dict[str, Any]:
    """The columns' types; `floats`: labels are regression targets."""
    import pyarrow as pa

    types = {"input_ids": pa.list_(pa.int32()), "token_type_ids": pa.list_(pa.int8())}
    types |= {"second": pa.int32()}
    return types | {"label": pa.float64() if floats else pa.int64()}


def write_split(path: str | Path, batches: Iterator[dict[str, list[Any]]], floats: bool) -> int:
    """Write batches of columns as one Arrow IPC file; returns the number of rows.

    Args:
        batches: mappings `input_ids`, `label` and, for all or none, `token_type_ids`, `second`.
        floats: labels are regression targets.
    """
    import pyarrow as pa

    types = _types_of(floats)
    rows, writer = 0, None
    with replacing(path) as draft:
        for batch in batches:
            schema = pa.schema([(name, types[name]) for name in batch])
            writer = writer or pa.ipc.new_file(str(draft), schema)
            writer.write_batch(pa.record_batch(batch, schema=schema))
            rows += len(batch["label"])
        if writer is None:
            raise FishpalError(f"{path}: no rows to write; allowed: one or more")
        writer.close()
    return rows
