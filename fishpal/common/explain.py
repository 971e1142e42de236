"""Turns pydantic's findings into one line: key, value, what is allowed."""

import math
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import Discriminator, ValidationError

from fishpal.common.errors import ParamsError, brief, hint, one_of

MAX_VALUES = 100_000  # YAML aliases can unfold a few lines into more values than memory holds
MAX_DEPTH = 20  # the deepest key of params.yaml has 6 levels; an alias can make a cycle
INT64 = 2**63
UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")
MISSING = ("missing", "missing_argument")
TAG = ("union_tag_invalid", "union_tag_not_found")
WORDS = {  # pydantic speaks of JSON, the reader of params.yaml thinks in YAML
    "an object": "a mapping",
    "a valid array": "a list",
    "a valid string": "a text",
    "a valid integer": "an integer",
    "a valid number": "a number",
    "a valid boolean": "true or false",
}


@dataclass(frozen=True)
class _Place:
    """A key as the user wrote it, and the type that stands there."""

    keys: tuple[str, ...]
    kind: Any

    @property
    def path(self) -> str:
        return ".".join(brief(key) for key in self.keys) or "the file"


def explain(error: ValidationError, root: Any) -> str:
    """The most telling finding of validating JSON into `root`, in one line.

    `root` is a dataclass, dict, tuple, union or scalar of such.
    """
    found = error.errors(include_url=False)
    # A misspelt key is both unknown and missing; the unknown one names the slip.
    first = min(found, key=lambda finding: _rank(finding["type"]))
    place = _locate(root, first["loc"])
    if first["type"] in UNKNOWN:
        parent = _locate(root, first["loc"][:-1]).kind
        known = sorted(field.name for field in fields(parent))
        near = hint(place.keys[-1], known)
        return f"{place.path} is unknown{near}; allowed: {', '.join(known)}"
    if first["type"] in MISSING:
        choices = choices_of(place.kind)
        return f"{place.path} is missing" + (f"; allowed: {', '.join(choices)}" if choices else "")
    if first["type"] in TAG:
        return _explain_tag(first["input"], place)
    if first["type"] == "value_error":
        prefix = f"{place.path}." if place.keys else ""
        return f"{prefix}{first['ctx']['error']}"
    choices = choices_of(place.kind)
    if choices:
        return one_of(place.path, first["input"], choices)
    same = [one for one in found if _locate(root, one["loc"]).keys == place.keys]
    allowed = dict.fromkeys(_allowed(one["msg"]) for one in same)
    return f"{place.path} is {brief(repr(first['input']))}; allowed: {' or '.join(allowed)}"


def choices_of(kind: Any) -> list[str]:
    """The values of a closed list; empty for any other type."""
    if get_origin(kind) is Literal:
        return [str(value) for value in get_args(kind)]
    return list(map(str, kind)) if isinstance(kind, type) and issubclass(kind, StrEnum) else []


def _rank(kind: str) -> int:
    order = (UNKNOWN, TAG, MISSING)
    return next((rank for rank, kinds in enumerate(order) if kind in kinds), len(order))


def _allowed(message: str) -> str:
    text = message.removeprefix("Input should be ")
    return WORDS.get(text, text[:1].lower() + text[1:])


def _explain_tag(value: Any, place: _Place) -> str:
    """The key that tells a union's members apart is missing, or has no member's value."""
    members, key = _union(place.kind)
    tags = sorted(tag for member in members for tag in _tags(member, key))
    if isinstance(value, dict) and key not in value:
        return f"{place.path}.{key} is missing; allowed: {', '.join(tags)}"
    tag = value[key] if isinstance(value, dict) else value
    return f"{place.path}.{key} is {brief(repr(tag))}{hint(tag, tags)}; allowed: {', '.join(tags)}"


def _union(kind: Any) -> tuple[tuple[Any, ...], str]:
    """Members and discriminator of `Annotated[A | B, Discriminator(key)]`."""
    union, discriminator = get_args(kind)
    return get_args(union), discriminator.discriminator


def _tags(member: Any, key: str) -> tuple[str, ...]:
    """The values that the discriminator of a union's member may have."""
    return get_args(get_type_hints(member)[key])


def _locate(kind: Any, loc: tuple[int | str, ...]) -> _Place:
    """Follow pydantic's location along the types.

    The location also names the branch of each union, which is no key of the file.
    """
    keys: list[str] = []
    for part in loc:
        kind = without_none(kind)
        origin = get_origin(kind)
        if origin is Annotated and not isinstance(get_args(kind)[1], Discriminator):
            kind, origin = get_args(kind)[0], get_origin(get_args(kind)[0])
        if origin is Annotated:
            members, key = _union(kind)
            kind = next((m for m in members if part in _tags(m, key)), None)
            continue
        if origin in (UnionType, Union):
            kind = None  # a scalar's branch: nothing lies below
            continue
        keys.append(str(part))
        if is_dataclass(kind):
            kind = get_type_hints(kind, include_extras=True).get(str(part))
        elif origin in (dict, tuple):
            kind = get_args(kind)[1 if origin is dict else 0]
    return _Place(tuple(keys), without_none(kind))


def without_none(kind: Any) -> Any:
    """X of `X | None`; any other type as it is."""
    if get_origin(kind) not in (UnionType, Union):
        return kind
    members = [member for member in get_args(kind) if member is not NoneType]
    return members[0] if len(members) == 1 else kind


def check_plain(data: Any) -> None:
    """Raise `ParamsError` unless `data` is finite JSON: what YAML can hold beyond is no parameter.

    Also bounds size and depth, since aliases can make YAML cyclic or explode.
    """
    count = 0
    todo: list[tuple[Any, tuple[str, ...]]] = [(data, ())]
    while todo:
        value, keys = todo.pop()
        where, count = _Place(keys, None).path, count + 1
        if count > MAX_VALUES or len(keys) > MAX_DEPTH:
            what = f"{brief(where)} is too large or refers to itself"
            raise ParamsError(f"{what}; allowed: {MAX_VALUES} values in {MAX_DEPTH} levels")
        if isinstance(value, dict):
            for key in value:
                _expect_plain(isinstance(key, str), f"{where}: key", key, "a text")
                _expect_plain(_is_text(key), f"{where}: key", key, "printable text")
            todo += [(inner, (*keys, key)) for key, inner in value.items()]
        elif isinstance(value, list):
            todo += [(inner, (*keys, str(i))) for i, inner in enumerate(value)]
        else:
            _check_scalar(where, value)


def _check_scalar(where: str, value: Any) -> None:
    if isinstance(value, str):
        _expect_plain(_is_text(value), where, value, "text without NUL and lone surrogates")
    elif isinstance(value, int) and not isinstance(value, bool):
        if not -INT64 <= value < INT64:  # not shown: Python refuses to print the longest ones
            raise ParamsError(f"{where} is too large; allowed: integers of 64 bits")
    elif isinstance(value, float):
        _expect_plain(math.isfinite(value), where, value, "finite numbers")
    elif value is not None and not isinstance(value, bool):
        kinds = "text, numbers, true, false, null, lists and mappings"
        _expect_plain(False, where, value, kinds)


def _is_text(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def _expect_plain(ok: bool, where: str, value: object, allowed: str) -> None:
    if not ok:
        raise ParamsError(f"{where} is {brief(repr(value))}; allowed: {allowed}")
