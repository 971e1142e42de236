"""params.yaml → one validated, immutable object."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fishpal.common.checks import check_choice
from fishpal.common.errors import ParamsError, brief
from fishpal.common.validate import Strict, decode
from fishpal.params.agreement import check_measured, check_scored, check_trained
from fishpal.params.catalog import Task
from fishpal.params.methods import Method
from fishpal.params.module_options import ModuleOptions
from fishpal.params.options import (
    EvaluateOptions,
    FisherOptions,
    HeadOptions,
    SelectOptions,
    TrainOptions,
)
from fishpal.params.report_options import ReportOptions
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
            check_choice("grid.tasks", name, self.catalog)
        for name in self.grid.methods:
            check_choice("grid.methods", name, self.methods)
            method, where = self.methods[name], f"methods.{name}"
            check_measured(method, where, self.fisher, self.modules)
            check_scored(method, where, self.fisher, self.select, self.train)
            check_trained(method, where, self.fisher, self.train)

    def task(self, name: str) -> Task:
        """The catalog's entry of that name."""
        check_choice("task", name, self.catalog)
        return self.catalog[name]

    def method(self, name: str) -> Method:
        check_choice("method", name, self.methods)
        return self.methods[name]


def load_params(path: str | Path = "params.yaml") -> Params:
    """Read and validate a params file; `ParamsError` names file, key, value and what is allowed."""
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ParamsError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ParamsError(f"{path}: byte {error.start} is not UTF-8") from error
    return parse_params(parse_yaml(text, str(path)), str(path))


def parse_params(data: Any, origin: str = "params") -> Params:
    """Validate what `load_params` read, whatever it holds; `origin` names it in messages."""
    if not isinstance(data, dict):
        what = f"{origin} holds {brief(repr(data))}"
        raise ParamsError(f"{what}; allowed: a mapping of sections")
    return decode(Params, data, origin, ParamsError)
