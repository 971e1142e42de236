"""params.yaml → one validated, immutable object."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from fishpal.errors import ParamsError, one_of
from fishpal.options import (
    STRICT,
    EvaluateOptions,
    FisherOptions,
    HeadOptions,
    ModuleOptions,
    ReportOptions,
    SelectOptions,
    TrainOptions,
)
from fishpal.sections import Encoder, Grid, Method, Task, Tokenize, check_name


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
    try:
        # The parser that DVC uses, so that both read the same numbers (YAML 1.2: 1e-3 is one).
        data = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ParamsError(f"{path}: not YAML: {reason}") from error
    return parse_params(data, str(path))


def parse_params(data: Any, origin: str = "params") -> Params:
    """Validate what `load_params` read; `origin` names it in messages."""
    if not isinstance(data, dict):
        raise ParamsError(f"{origin}: holds {type(data).__name__}; allowed: a mapping of sections")
    try:
        # Strict JSON mode: "8" is no integer, while lists and names still become tuples and enums.
        return _adapter().validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        raise ParamsError(f"{origin}: {_explain(error)}") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise ParamsError(f"{origin}: {error}") from error


@cache
def _adapter() -> TypeAdapter[Params]:
    return TypeAdapter(Params)


def _explain(error: ValidationError) -> str:
    """The first of pydantic's findings in one line."""
    first = error.errors(include_url=False)[0]
    keys = [str(part) for part in first["loc"]]
    where = ".".join(keys) or "the file"
    if first["type"] == "value_error":
        return f"{where}.{first['ctx']['error']}" if keys else str(first["ctx"]["error"])
    if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        known = _known_keys(keys[:-1])
        near = get_close_matches(keys[-1], known, n=1)
        hint = f" (did you mean '{near[0]}'?)" if near else ""
        return f"{where} is unknown{hint}; allowed: {', '.join(sorted(known))}"
    if first["type"] in ("missing", "missing_argument"):
        return f"{where} is missing"
    return f"{where} is {first['input']!r}: {first['msg']}"


def _known_keys(keys: list[str]) -> list[str]:
    """The keys allowed at a path, found by walking the dataclasses' types."""
    types: list[Any] = [Params]
    for key in keys:
        types = [inner for kind in types for inner in _inner(kind, key)]
    return sorted({field.name for kind in types if is_dataclass(kind) for field in fields(kind)})


def _inner(kind: Any, key: str) -> list[Any]:
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return _flatten(hints[key]) if key in hints else [kind]  # a union's tag is no level
    return [kind]


def _flatten(kind: Any) -> list[Any]:
    """The dataclasses inside dict[str, X], Annotated[A | B, …] and X | None."""
    if is_dataclass(kind):
        return [kind]
    return [inner for part in get_args(kind) for inner in _flatten(part)]
