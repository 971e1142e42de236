"""Parsed JSON or YAML → checked, immutable objects: the one validator of params and records."""

import json
from functools import cache
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from fishpal.common.errors import FishpalError, ParamsError, PlanError
from fishpal.common.explain import check_plain, explain
from fishpal.common.fields import taken


class Strict:
    """Base of every dataclass that is read: an unknown key is an error, no no-op.

    A value of another type than its field's, or outside its `Range` or closed list, is an error in
    Python, too (`fishpal.common.fields`).
    """

    __pydantic_config__ = {"extra": "forbid"}

    def __post_init__(self) -> None:
        record: Any = type(self)
        for name, kind in _kinds(record).items():
            given = getattr(self, name)
            if (value := taken(name, kind, given)) is not given:
                object.__setattr__(self, name, value)  # which frozen ones refuse otherwise


@cache
def _kinds(record: Any) -> dict[str, Any]:
    return get_type_hints(record, include_extras=True)


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
