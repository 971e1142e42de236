"""One field of a dataclass that is made in Python: checked, and taken, as a file's would be."""

from dataclasses import is_dataclass
from enum import StrEnum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from fishpal.common.checks import Range, check, check_choice
from fishpal.common.errors import ParamsError, brief
from fishpal.common.explain import choices_of, without_none

# Type → what values of it are, beside truth values, and its name in messages.
SCALARS: dict[Any, tuple[tuple[type, ...], str]] = {
    int: ((int,), "an integer"),
    float: ((int, float), "a number"),
    str: ((str,), "a text"),
}


def plain(value: Any) -> Any:
    """A single value of NumPy's, torch's or the like as Python's; anything else as it is."""
    single = getattr(value, "ndim", None) == 0 and hasattr(value, "item")
    return value.item() if single else value


def taken(name: str, kind: Any, value: Any) -> Any:
    """The value as a file would give it: lists as tuples, words as members of their closed list.

    Raises:
        ParamsError: naming the field, where the value is of another type, or beyond its `Range`.
    """
    inner, value = without_none(kind), plain(value)
    if value is None and fits(kind, None):
        return None
    if choices := choices_of(inner):
        check_choice(name, value if isinstance(value, str) else repr(value), choices)
        return inner(value) if isinstance(inner, type) else value
    limits = [each for each in getattr(inner, "__metadata__", ()) if isinstance(each, Range)]
    if not fits(kind, value):  # first, as no limit compares a text with a number
        allowed = limits[0].allowed if limits else _said(kind)
        raise ParamsError(f"{name} is {brief(repr(value))}; allowed: {allowed}")
    for limit in limits:
        check(limit.holds(value), name, value, limit.allowed)
    if isinstance(value, list | tuple) and (part := _part(kind)) is not None:
        return tuple(taken(f"{name}.{i}", part, each) for i, each in enumerate(value))
    return value


def fits(kind: Any, value: Any) -> bool:
    """Whether a value is of a type, of lists their parts not counted; of one not known here: yes.

    A truth value is no number, as in a file.
    """
    origin, args = get_origin(kind), get_args(kind)
    if origin in (UnionType, Union):
        return any(fits(each, value) for each in args)
    if origin is Annotated:
        return fits(args[0], value)
    if origin is Literal:
        return isinstance(value, str) and value in args
    if origin is tuple:
        return isinstance(value, list | tuple)
    if kind in SCALARS:
        return isinstance(value, SCALARS[kind][0]) and not isinstance(value, bool)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return isinstance(value, str) and value in list(kind)
    known = kind in (bool, NoneType) or (isinstance(kind, type) and is_dataclass(kind))
    return isinstance(value, kind) if known else True


def _part(kind: Any) -> Any:
    """X where the type, or one of a union's, is tuple[X, ...]."""
    members = get_args(kind) if get_origin(kind) in (UnionType, Union) else (kind,)
    found = (get_args(each) for each in members if get_origin(each) is tuple)
    return next((args[0] for args in found if args[1:] == (...,)), None)


def _said(kind: Any) -> str:
    """A type in words."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _said(args[0])
    if origin in (UnionType, Union):
        return " or ".join(map(_said, args))
    if origin is Literal:
        return " or ".join(map(repr, args))
    if origin is tuple:
        return "a list"
    words = {bool: "True or False", NoneType: "None"}
    return SCALARS[kind][1] if kind in SCALARS else words.get(kind, f"a {kind.__name__}")
