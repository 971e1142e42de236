"""The sections of params.yaml that only the pipeline reads: grid, sources, catalog, methods."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Discriminator

from fishpal.errors import ParamsError
from fishpal.kinds import ModuleKind
from fishpal.options import STRICT, check, check_choice, check_positive

# Names become paths, stage names and commands; a hyphen could make two matrix cells collide.
NAME = re.compile(r"[a-z0-9_]+")
SHA256 = re.compile(r"[0-9a-f]{64}")
REVISION = re.compile(r"[0-9a-f]{40}")
VERSION = re.compile(r"[0-9A-Za-z.+!_-]+")
PACKAGE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?")
METRICS = ("accuracy", "f1", "macro_f1", "matthews", "pearson", "spearman")
REGRESSION_METRICS = ("pearson", "spearman")
RULES = ("criterion", "uniform", "random", "none", "full", "thesis")


def check_name(what: str, name: str) -> None:
    check(bool(NAME.fullmatch(name)), what, f"'{name}'", "letters a-z, digits and _")


def check_pattern(what: str, pattern: re.Pattern[str], value: str, allowed: str) -> None:
    check(bool(pattern.fullmatch(value)), what, f"'{value}'", allowed)


@dataclass(frozen=True)
class Grid:
    """The cells of the comparison: every task × method × seed."""

    __pydantic_config__ = STRICT
    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        for key, values in vars(self).items():
            check(bool(values), key, "empty", "one entry or more")
            check(len(set(values)) == len(values), key, list(values), "each entry once")
        for seed in self.seeds:
            check(0 <= seed < 2**32, "seeds", seed, "integers from 0 below 2**32")


@dataclass(frozen=True)
class Split:
    """Cuts one table into splits; rows that share the value of column `by` stay together."""

    __pydantic_config__ = STRICT
    shares: dict[str, float]
    by: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check("train" in self.shares, "shares", list(self.shares), "train and one more split")
        check(len(self.shares) > 1, "shares", list(self.shares), "train and one more split")
        for name, share in self.shares.items():
            check_name("shares", name)
            check(0 < share < 1, f"shares.{name}", share, "between 0 and 1")
        total = sum(self.shares.values())
        check(abs(total - 1) < 1e-6, "shares", f"in sum {total:g}", "a sum of 1")
        check(self.seed >= 0, "seed", self.seed, "an integer from 0")


@dataclass(frozen=True, kw_only=True)
class TaskSource:
    """What every source of a task has in common."""

    __pydantic_config__ = STRICT
    licence: str = "unknown"
    drop_labels: tuple[str | int, ...] = ()
    drop_duplicates: bool = False
    split: Split | None = None


@dataclass(frozen=True, kw_only=True)
class PackageTask(TaskSource):
    """A table inside a wheel of the package index; never installed, never imported."""

    type: Literal["package"]
    package: str
    version: str
    sha256: str
    file: str

    def __post_init__(self) -> None:
        check_wheel(self.package, self.version, self.sha256)
        check(self.split is not None, "split", "null", "a split, since a package holds one table")


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


@dataclass(frozen=True, kw_only=True)
class FilesTask(TaskSource):
    """CSV, TSV, JSON Lines or Parquet files, one a split (or one, cut by `split`)."""

    type: Literal["files"]
    files: dict[str, str]

    def __post_init__(self) -> None:
        check_split_names("files", self.files, self.split)


def check_wheel(package: str, version: str, sha256: str) -> None:
    check_pattern("package", PACKAGE, package, "a name of the package index")
    check_pattern("version", VERSION, version, "an exact version")
    check_pattern("sha256", SHA256, sha256, "64 hex digits")


def check_split_names(key: str, names: dict[str, str], split: Split | None) -> None:
    for name in names:
        check_name(key, name)
    check("train" in names, key, list(names), "train and one more split")
    if split is None:
        check(len(names) > 1, key, list(names), "train and one more, or a `split` that cuts it")
    else:
        check(len(names) == 1, key, list(names), "train alone where `split` cuts it")


@dataclass(frozen=True)
class Columns:
    """One or two text columns, in the order in which they are paired, and the label's."""

    __pydantic_config__ = STRICT
    text: tuple[str, ...]
    label: str

    def __post_init__(self) -> None:
        check(len(self.text) in (1, 2), "text", list(self.text), "one or two columns")


@dataclass(frozen=True)
class Sizes:
    """Examples used of train's two parts and of each evaluation split; null: all (the rest)."""

    __pydantic_config__ = STRICT
    fit: int | None = None
    selection: int | float = 0.1
    evaluation: int | None = None

    def __post_init__(self) -> None:
        for key in ("fit", "evaluation"):
            size = getattr(self, key)
            if size is not None:
                check(size >= 2, key, size, "an integer from 2, or null")
        size = self.selection
        ok = 0 < size < 1 if isinstance(size, float) else size >= 2
        check(ok, "selection", size, "an integer from 2, or a share of train between 0 and 1")


@dataclass(frozen=True)
class Task:
    """One data set: where its rows come from and what is asked of them.

    `labels` are the raw values in class order; null makes the task a regression.
    `headline` are the splits that the report compares on; null: test, or else all but train.
    """

    __pydantic_config__ = STRICT
    source: Annotated[PackageTask | HubTask | FilesTask, Discriminator("type")]
    columns: Columns
    labels: tuple[str | int, ...] | None
    sizes: Sizes
    metrics: tuple[str, ...]
    headline: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check(bool(self.metrics), "metrics", "empty", "one metric or more, the main one first")
        for metric in self.metrics:
            check_choice("metrics", metric, METRICS)
            fits = (metric in REGRESSION_METRICS) == (self.labels is None)
            kind = "a regression" if self.labels is None else "a classification"
            check(fits, "metrics", metric, f"those of {kind}")
        if self.labels is not None:
            names = [str(label) for label in self.labels]
            check(len(names) > 1, "labels", names, "two labels or more, or null (regression)")
            check(len(set(names)) == len(names), "labels", names, "each label once")
            if "f1" in self.metrics:
                check(len(names) == 2, "metrics", "f1", "with two labels; else macro_f1")


@dataclass(frozen=True, kw_only=True)
class PackageEncoder:
    """A folder inside a wheel of the package index; never installed, never imported."""

    __pydantic_config__ = STRICT
    type: Literal["package"]
    package: str
    version: str
    sha256: str
    folder: str
    licence: str = "unknown"

    def __post_init__(self) -> None:
        check_wheel(self.package, self.version, self.sha256)


@dataclass(frozen=True, kw_only=True)
class HubEncoder:
    """A model of the Hugging Face hub at a pinned revision; safetensors only."""

    __pydantic_config__ = STRICT
    type: Literal["hub"]
    name: str
    revision: str
    licence: str = "unknown"

    def __post_init__(self) -> None:
        check_pattern("name", HUB_NAME, self.name, "owner/name of the hub")
        check_pattern("revision", REVISION, self.revision, "a commit of 40 hex digits")


@dataclass(frozen=True, kw_only=True)
class FolderEncoder:
    """A local folder as `save_pretrained` writes it; safetensors only."""

    __pydantic_config__ = STRICT
    type: Literal["folder"]
    folder: str
    licence: str = "unknown"


@dataclass(frozen=True)
class Encoder:
    """The frozen encoder and how its last hidden states become one vector a text."""

    __pydantic_config__ = STRICT
    source: Annotated[PackageEncoder | HubEncoder | FolderEncoder, Discriminator("type")]
    pooling: Literal["mean", "cls"] = "mean"


@dataclass(frozen=True)
class Tokenize:
    __pydantic_config__ = STRICT
    max_length: int = 128
    split_seed: int = 0

    def __post_init__(self) -> None:
        check(self.max_length >= 4, "max_length", self.max_length, "an integer from 4")
        check(self.split_seed >= 0, "split_seed", self.split_seed, "an integer from 0")


@dataclass(frozen=True)
class Method:
    """A rule for getting a plan, with the options that the rule knows.

    `learning_rate`, where set, replaces every kind's own rate in this method's plan.
    """

    __pydantic_config__ = STRICT
    rule: str
    kind: ModuleKind | None = None
    criterion: str | None = None
    seed: int | None = None
    plan: str | None = None
    learning_rate: float | None = None

    def __post_init__(self) -> None:
        check_choice("rule", self.rule, RULES)
        owner = {"kind": "uniform", "criterion": "criterion", "seed": "random", "plan": "thesis"}
        for key, rule in owner.items():
            known = getattr(self, key) is None or self.rule == rule
            check(known, key, getattr(self, key), f"only with rule {rule}")
        if self.rule == "uniform" and self.kind is None:
            raise ParamsError("kind is missing; allowed: " + ", ".join(ModuleKind))
        if self.seed is not None:
            check(self.seed >= 0, "seed", self.seed, "an integer from 0")
        if self.learning_rate is not None:
            check_positive(learning_rate=self.learning_rate)
