"""Parsed JSON or YAML → checked, immutable objects: the one validator of params and records."""

import json
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fishpal.common.errors import FishpalError, ParamsError, PlanError
from fishpal.common.explain import check_plain, explain


class Strict:
    """Base of every dataclass that is read: an unknown key is an error, no no-op."""

    __pydantic_config__ = {"extra": "forbid"}


def decode(kind: Any, value: Any, where: str, error: type[FishpalError] = PlanError) -> Any:
    """Build `kind` from parsed JSON, its types taken strictly: "8" and 8.0 are no integers.

    Raises `error`, naming the file (`where`), key, value and what is allowed.

    Args:
        kind: a dataclass (a `Strict` one), or any type that pydantic knows.
        value: what `json.loads` or a safe YAML loader gave, of whatever size and shape.
    """
    try:
        check_plain(value)
        # Strict JSON mode: lists and names still become tuples and enums.
        return _adapter(kind).validate_json(json.dumps(value), strict=True)
    except ValidationError as found:
        raise error(f"{where}: {explain(found, kind)}") from found
    except ParamsError as found:
        raise error(f"{where}: {found}") from found


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
