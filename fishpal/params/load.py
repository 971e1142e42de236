"""params.yaml → one validated, immutable object."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fishpal.common.errors import ParamsError, brief, one_of
from fishpal.common.validate import Strict, decode
from fishpal.params.catalog import Task
from fishpal.params.methods import Method
from fishpal.params.options import (
    EvaluateOptions,
    FisherOptions,
    HeadOptions,
    ModuleOptions,
    ReportOptions,
    SelectOptions,
    TrainOptions,
)
from fishpal.params.sections import Encoder, Grid, Tokenize, check_name
from fishpal.params.yaml import parse_yaml


@dataclass(frozen=True)
class Params(Strict):
    """All of params.yaml; each field is a section of that name."""

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
    return parse_params(parse_yaml(text, str(path)), str(path))


def parse_params(data: Any, origin: str = "params") -> Params:
    """Validate what `load_params` read; `origin` names it in messages.

    Raises:
        ParamsError: naming `origin`, key, value and what is allowed, whatever `data` holds.
    """
    if not isinstance(data, dict):
        allowed = "a mapping of sections"
        raise ParamsError(f"{origin} holds {brief(repr(data))}; allowed: {allowed}")
    params: Params = decode(Params, data, origin, ParamsError)
    return params
