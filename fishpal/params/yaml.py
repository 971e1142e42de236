"""YAML as DVC reads it: version 1.2's scalars, in plain Python values.

DVC hands stages no parameters; both read params.yaml, and have to read the same. PyYAML's own
loader speaks YAML 1.1, where `1e-3` is a text, `yes` is true and `012` is ten.
"""

import re
from collections.abc import Hashable
from typing import Any

import yaml

from fishpal.common.errors import ParamsError, brief


class Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """A safe loader of YAML 1.2 that refuses a key given twice."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True) if key.tag != MERGE else None
            if isinstance(name, Hashable) and name is not None:
                if name in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key '{brief(name)}' stands twice", key.start_mark
                    )
                seen.add(name)
        return super().construct_mapping(node, deep)


MERGE = "tag:yaml.org,2002:merge"
INT = r"[-+]?0b[0-1_]+|[-+]?0o?[0-7_]+|[-+]?[0-9_]+|[-+]?0x[0-9a-fA-F_]+"
FLOAT = (
    r"[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?(?:[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)"
    r"|[-+]?\.[0-9_]+(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
DATE = r"\d{4}-\d\d?-\d\d?(?:(?:[Tt]|[ \t]+)\d\d?:\d\d:\d\d(?:\.\d*)?.*)?"
for tag, pattern, first in (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("float", FLOAT, "-+0123456789."),
    ("int", INT, "-+0123456789"),
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("timestamp", DATE, "0123456789"),
    ("merge", "<<", "<"),
):
    Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), list(first)
    )


def _integer(loader: Loader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node)).replace("_", "")
    return int(text, {"0b": 2, "0o": 8, "0x": 16}.get(text.lstrip("+-")[:2], 10))


Loader.add_constructor("tag:yaml.org,2002:int", _integer)


def parse_yaml(text: str, where: str) -> Any:
    """The value of a YAML document; `ParamsError` names `where`, and the line where known."""
    try:
        return yaml.load(text, Loader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = "" if mark is None else f" in line {mark.line + 1}"
        raise ParamsError(f"{where}: not YAML{line}: {brief(error.problem, 200)}") from error
    except Exception as error:  # an odd tag or date makes the parser leak KeyError and the like
        raise ParamsError(f"{where}: not YAML: {brief(error, 200)}") from error
