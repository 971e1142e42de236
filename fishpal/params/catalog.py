"""The catalog of params.yaml: where a task's rows come from and what is asked of them."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator

from fishpal.common.checks import Seed, at_least, check, check_choice
from fishpal.common.kinds import MetricName
from fishpal.common.validate import Strict
from fishpal.params.sections import (
    HUB_NAME,
    REVISION,
    AnySource,
    Wheel,
    check_name,
    check_pattern,
)

# keys of counts.json beside the splits'
RESERVED = ("fit", "selection", "removed_duplicates")
# A table without a header has columns "0", "1", …, and YAML spells these as numbers.
Column = Annotated[str, BeforeValidator(lambda name: str(name) if type(name) is int else name)]


@dataclass(frozen=True)
class Split(Strict):
    """Cuts one table into splits; rows that share the value of column `by` stay together.

    So they do in fit and selection, unless `selection` is false.
    """

    shares: dict[str, float]
    by: Column | None = None
    seed: Seed = 0
    selection: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        ok = "train" in self.shares and len(self.shares) > 1
        check(ok, "shares", list(self.shares), "train and one more split")
        for name, share in self.shares.items():
            check_split_name("shares", name)
            check(0 < share < 1, f"shares.{name}", share, "between 0 and 1")
        total = sum(self.shares.values())
        check(abs(total - 1) < 1e-6, "shares", f"in sum {total:g}", "a sum of 1")


@dataclass(frozen=True, kw_only=True)
class TaskSource(AnySource):
    """What every source of a task has in common."""

    drop_labels: tuple[str | int | None, ...] = ()  # None: rows without one
    drop_duplicates: bool = False
    split: Split | None = None

    def tables(self) -> Collection[str]:
        """Names of the tables that are read: a split each, or train alone, cut by `split`."""
        return ("train",)


@dataclass(frozen=True, kw_only=True)
class TableSource(TaskSource):
    """Tables in files; `format` and `quoting` null: as the ending says (`fishpal.tasks.frames`)."""

    format: Literal["csv", "tsv", "jsonl", "parquet"] | None = None
    header: bool = True
    quoting: Literal["minimal", "none"] | None = None


@dataclass(frozen=True, kw_only=True)
class PackageTask(Wheel, TableSource):
    """A table inside a wheel."""

    file: str

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.split is not None, "split", "null", "a split, since a package holds one table")

    def describe(self) -> str:
        """Where the rows come from, for the report."""
        return f"{self.file} of package {self.package} {self.version}"


@dataclass(frozen=True, kw_only=True)
class HubTask(TaskSource):
    """A data set of the Hugging Face hub at a pinned revision; its code is never run.

    `splits` maps split names here to the hub's; one of them is train.
    """

    type: Literal["hub"]
    path: str
    revision: str
    splits: dict[str, str]
    name: str | None = None

    def __post_init__(self) -> None:
        check_pattern("path", HUB_NAME, self.path, "owner/name of the hub")
        check_pattern("revision", REVISION, self.revision, "a commit of 40 hex digits")
        check_split_names("splits", self.splits, self.split)

    def tables(self) -> Collection[str]:
        return self.splits

    def describe(self) -> str:
        name = f"{self.path} {self.name}" if self.name else self.path
        return f"{name} at revision {self.revision[:8]}"


@dataclass(frozen=True, kw_only=True)
class FilesTask(TableSource):
    """CSV, TSV, JSON Lines or Parquet files, one a split (or one, cut by `split`)."""

    type: Literal["files"]
    files: dict[str, str]

    def __post_init__(self) -> None:
        check_split_names("files", self.files, self.split)

    def tables(self) -> Collection[str]:
        return self.files

    def local_files(self) -> list[Path]:
        return [Path(name) for name in self.files.values()]

    def describe(self) -> str:
        """With each file's folder, but not the machine's path to it."""
        names = (Path(path.parent.name, path.name) for path in self.local_files())
        return "files " + ", ".join(map(str, names))


Source = PackageTask | HubTask | FilesTask


def check_split_name(key: str, name: str) -> None:
    check_name(key, name)
    check(name not in RESERVED, key, f"'{name}'", "other names than " + ", ".join(RESERVED))


def check_split_names(key: str, names: Collection[str], split: Split | None = None) -> None:
    for name in names:
        check_split_name(key, name)
    check("train" in names, key, list(names), "train and one more split")
    if split is None:
        check(len(names) > 1, key, list(names), "train and one more, or a `split` that cuts it")
    else:
        check(len(names) == 1, key, list(names), "train alone where `split` cuts it")


@dataclass(frozen=True)
class Columns(Strict):
    """One or two text columns, in the order in which they are paired, and the label's.

    Rows that share a value of column `group` stay together, in fit or in selection.
    """

    text: tuple[Column, ...]
    label: Column
    group: Column | None = None

    def __post_init__(self) -> None:
        check(len(self.text) in (1, 2), "text", list(self.text), "one or two columns")
        names = [*self.text, self.label]
        check(len(set(names)) == len(names), "text and label", names, "each column once")


def group_column(columns: Columns, split: Split | None) -> str | None:
    """That of rows which stay together, by whatever cuts them."""
    return columns.group or (split.by if split else None)


def selection_group(task: "Task") -> str | None:
    """The column whose values fit and selection do not share."""
    cut = task.source.split
    return task.columns.group or (cut.by if cut and cut.selection else None)


def needed_columns(columns: Columns, split: Split | None, name: str = "train") -> list[str]:
    """The columns that are read of a table: texts, label and, of train, the group's."""
    group = group_column(columns, split) if name == "train" else None
    return list(dict.fromkeys([*columns.text, columns.label, *([group] if group else [])]))


@dataclass(frozen=True)
class Sizes(Strict):
    """Examples used of train's two parts and of each evaluation split; null: all (the rest)."""

    fit: Annotated[int, at_least(2, ", or null")] | None = None
    selection: int | float = 0.1
    evaluation: Annotated[int, at_least(2, ", or null")] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        size = self.selection
        ok = 0 < size < 1 if isinstance(size, float) else size >= 2
        check(ok, "selection", size, "an integer from 2, or a share of train between 0 and 1")


@dataclass(frozen=True)
class Task(Strict):
    """One data set: where its rows come from and what is asked of them.

    `labels` are the raw values in class order; null makes the task a regression.
    `headline` are the splits that the report compares on; null: test, or else all but train.
    """

    source: Annotated[Source, Discriminator("type")]
    columns: Columns
    labels: tuple[str | int, ...] | None
    sizes: Sizes
    metrics: tuple[MetricName, ...]
    headline: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check(bool(self.metrics), "metrics", "empty", "one metric or more, the main one first")
        once = len(set(self.metrics)) == len(self.metrics)
        check(once, "metrics", list(self.metrics), "each metric once")
        for metric in self.metrics:
            check_choice("metrics", metric, tuple(MetricName))
            fits = MetricName(metric).of_numbers == (self.labels is None)
            kind = "a regression" if self.labels is None else "a classification"
            check(fits, "metrics", metric, f"those of {kind}")
        self._check_labels()
        group, cut = self.columns.group, self.source.split
        same = group is None or cut is None or cut.by == group
        allowed = f"source.split.by, which is {cut.by if cut else None}, or null"
        check(same, "columns.group", group, allowed)
        splits = self.source.split.shares if self.source.split else self.source.tables()
        named = list(self.headline or ())
        check(len(set(named)) == len(named), "headline", named, "each split once")
        for split in named:
            check_choice("headline", split, [name for name in splits if name != "train"])

    def _check_labels(self) -> None:
        if self.labels is None:
            return
        names = [str(label) for label in self.labels]
        check(len(names) > 1, "labels", names, "two labels or more, or null (regression)")
        check(len(set(names)) == len(names), "labels", names, "each label once")
        for label in self.source.drop_labels:
            check(str(label) not in names, "source.drop_labels", label, "what `labels` leaves out")
        if MetricName.F1 in self.metrics:
            check(len(names) == 2, "metrics", "f1", "with two labels; else macro_f1")
