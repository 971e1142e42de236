"""params.yaml → one validated, immutable object."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from fishpal.common.errors import ParamsError, brief, one_of
from fishpal.params.catalog import Task
from fishpal.params.explain import check_plain, explain
from fishpal.params.options import (
    STRICT,
    EvaluateOptions,
    FisherOptions,
    HeadOptions,
    ModuleOptions,
    ReportOptions,
    SelectOptions,
    TrainOptions,
)
from fishpal.params.sections import Encoder, Grid, Method, Tokenize, check_name


@dataclass(frozen=True)
class Params:
    """All of params.yaml; each field is a section of that name."""

    __pydantic_config__ = STRICT
    grid: Grid
    encoder: Encoder
    catalog: dict[str, Task]
    tokenize: Tokenize
    modules: ModuleOptions
    head: HeadOptions
    fisher: FisherOptions
    select: SelectOptions
    methods: dict[str, Method]
    train: TrainOptions
    evaluate: EvaluateOptions
    report: ReportOptions

    def __post_init__(self) -> None:
        for section in ("catalog", "methods"):
            for name in getattr(self, section):
                check_name(section, name)
        for name in self.grid.tasks:
            if name not in self.catalog:
                raise ParamsError(one_of("grid.tasks", name, self.catalog))
        for name in self.grid.methods:
            if name not in self.methods:
                raise ParamsError(one_of("grid.methods", name, self.methods))

    def task(self, name: str) -> Task:
        """The catalog's entry of that name."""
        if name not in self.catalog:
            raise ParamsError(one_of("task", name, self.catalog))
        return self.catalog[name]

    def method(self, name: str) -> Method:
        """The method of that name."""
        if name not in self.methods:
            raise ParamsError(one_of("method", name, self.methods))
        return self.methods[name]


def load_params(path: str | Path = "params.yaml") -> Params:
    """Read and validate a params file.

    Raises:
        ParamsError: naming file, key, value and what is allowed.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ParamsError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ParamsError(f"{path}: byte {error.start} is not UTF-8") from error
    return parse_params(_parse_yaml(text, path), str(path))


def parse_params(data: Any, origin: str = "params") -> Params:
    """Validate what `load_params` read; `origin` names it in messages.

    Raises:
        ParamsError: naming `origin`, key, value and what is allowed, whatever `data` holds.
    """
    if not isinstance(data, dict):
        allowed = "a mapping of sections"
        raise ParamsError(f"{origin} holds {brief(repr(data))}; allowed: {allowed}")
    try:
        check_plain(data)
        # Strict JSON mode: "8" is no integer, while lists and names still become tuples and enums.
        return _adapter().validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        raise ParamsError(f"{origin}: {explain(error, Params)}") from error
    except ParamsError as error:
        raise ParamsError(f"{origin}: {error}") from error


def _parse_yaml(text: str, path: Path) -> Any:
    try:
        # The parser that DVC uses, so that both read the same numbers (YAML 1.2: 1e-3 is one).
        return YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = "" if mark is None else f" in line {mark.line + 1}"
        raise ParamsError(f"{path}: not YAML{where}: {brief(error.problem, 200)}") from error
    except Exception as error:  # an odd tag or date makes the parser leak KeyError and the like
        raise ParamsError(f"{path}: not YAML: {brief(error, 200)}") from error


@cache
def _adapter() -> TypeAdapter[Params]:
    return TypeAdapter(Params)
