"""JSON → dataclasses with checked types, in the standard library alone.

The files of plans, tables and trained folders are read on machines without pydantic too.
"""

from __future__ import annotations

import sys
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from fishpal.common.errors import FishpalError, PlanError, brief, one_of


def decode(kind: Any, value: Any, where: str) -> Any:
    """Build `kind` from parsed JSON.

    Args:
        kind: a dataclass, enum, `tuple[X, ...]`, `dict[str, X]`, `X | None`, Literal or scalar.
        value: what `json.loads` gave.
        where: file and key, for messages.

    Raises:
        PlanError: naming the key, the value and what is allowed.
    """
    origin = get_origin(kind)
    if is_dataclass(kind):
        return _decode_dataclass(kind, value, where)
    if origin is UnionType:
        return _decode_optional(kind, value, where)
    if origin is tuple:
        _expect(isinstance(value, list), where, value, "a list")
        inner = get_args(kind)[0]
        return tuple(decode(inner, v, f"{where}.{i}") for i, v in enumerate(value))
    if origin is dict:
        _expect(isinstance(value, dict), where, value, "a mapping")
        for key in value:
            _expect(_is_unicode(key), f"{where}: key", key, "a text without lone surrogates")
        return {
            key: decode(get_args(kind)[1], v, f"{where}.{brief(key)}") for key, v in value.items()
        }
    if origin is Literal:
        return _choose(value, get_args(kind), where)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return kind(_choose(value, [str(member) for member in kind], where))
    return _decode_scalar(kind, value, where)


def _decode_dataclass(kind: Any, value: Any, where: str) -> Any:
    _expect(isinstance(value, dict), where, value, "a mapping")
    known = {field.name: field for field in fields(kind)}
    for key in value:
        if key not in known:
            raise PlanError(one_of(f"{where}: key", key, known))
    for name, field in known.items():
        if name not in value and field.default is MISSING and field.default_factory is MISSING:
            raise PlanError(f"{where}.{name} is missing")
    hints = get_type_hints(kind)
    made = {key: decode(hints[key], v, f"{where}.{key}") for key, v in value.items()}
    try:
        return kind(**made)
    except FishpalError as error:
        raise PlanError(f"{where}.{error}") from error


def _decode_optional(kind: Any, value: Any, where: str) -> Any:
    if value is None and NoneType in get_args(kind):
        return None
    inner = [part for part in get_args(kind) if part is not NoneType]
    return decode(inner[0], value, where)


def _decode_scalar(kind: Any, value: Any, where: str) -> Any:
    if kind is Any:
        return value
    if kind is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        # Compared rather than converted: an integer may be beyond every float.
        finite = number and abs(value) <= sys.float_info.max
        _expect(finite, where, value, "a finite number")
        return float(value)
    ok = isinstance(value, kind) and not (kind is int and isinstance(value, bool))
    _expect(ok, where, value, {int: "an integer", str: "a text", bool: "true or false"}[kind])
    if kind is str:
        _expect(_is_unicode(value), where, value, "a text without lone surrogates")
    return value


def _is_unicode(text: str) -> bool:
    """JSON can spell half of a surrogate pair, which no file can hold afterwards."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _choose(value: Any, allowed: Any, where: str) -> Any:
    if value not in allowed:
        raise PlanError(one_of(where, value, map(str, allowed)))
    return value


def _expect(ok: bool, where: str, value: Any, allowed: str) -> None:
    if not ok:
        raise PlanError(f"{where} is {brief(repr(value))}; allowed: {allowed}")
