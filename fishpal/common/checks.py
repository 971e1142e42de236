"""Checks of one value: each raises `ParamsError` with key, value and what is allowed."""

import math
from collections.abc import Callable, Collection
from typing import Annotated, Any, Literal, NamedTuple

from fishpal.common.errors import ParamsError, brief, one_of

MAX_RATE = 100.0
MAX_SIZE = 2**14  # of ranks and the like: some 8 times what anybody uses


def check(ok: bool, name: str, value: object, allowed: str) -> None:
    """Raise unless `ok`."""
    if not ok:
        raise ParamsError(f"{name} is {brief(value)}; allowed: {allowed}")


def check_types(**given: tuple[Any, type | tuple[type, ...]]) -> None:
    """Raise unless every value, by its name, is of its type or one of these."""
    for name, (value, types) in given.items():
        known = types if isinstance(types, tuple) else (types,)
        allowed = " or ".join("None" if each is type(None) else each.__name__ for each in known)
        check(isinstance(value, known), name, f"of type {type(value).__name__}", allowed)


def check_positive(**values: float) -> None:
    for name, value in values.items():
        check(value > 0 and math.isfinite(value), name, value, "a finite number above 0")


def check_seed(name: str, seed: Any) -> None:
    """Raise unless it is one that every generator of random numbers takes, NumPy's included."""
    whole = isinstance(seed, int) and not isinstance(seed, bool)
    ok = whole and 0 <= seed < 2**32
    check(ok, name, seed if whole else repr(seed), "integers from 0 below 2**32")


def check_choice(name: str, value: str, allowed: Collection[str]) -> None:
    if value not in allowed:
        raise ParamsError(one_of(name, value, allowed))


class Range(NamedTuple):
    """`Annotated[int, Range(…)]`: what a `Strict` dataclass takes as this field, beside None."""

    holds: Callable[[Any], bool]
    allowed: str


def at_least(least: int, also: str = "") -> Range:
    return Range(lambda value: value >= least, f"an integer from {least}{also}")


Seed = Annotated[int, at_least(0)]
POSITIVE = Range(lambda value: 0 < value < math.inf, "a finite number above 0")
Positive = Annotated[float, POSITIVE]
Count = Annotated[int, at_least(1)]
Fraction = Annotated[float, Range(lambda value: 0 < value < 1, "a number between 0 and 1")]
Share = Annotated[float, Range(lambda value: 0 <= value < 1, "0 up to, not including, 1")]
# A module far beyond any in use ends in the allocator's error, or the process is killed.
Size = Annotated[int, Range(lambda size: 0 < size <= MAX_SIZE, f"an integer from 1 to {MAX_SIZE}")]
# Adam moves every parameter by about the rate, whatever its gradient: 100 is already absurd, and
# far larger ones end in torch's own error, beyond float32.
Rate = Annotated[float, Range(lambda value: 0 < value <= MAX_RATE, f"above 0 up to {MAX_RATE:g}")]
# Of one part's rate to its kind's: their product stays a number that float32 has.
MAX_RATIO = 1e6
Ratio = Annotated[float, Range(lambda x: 0 < x <= MAX_RATIO, f"above 0 up to {MAX_RATIO:g}")]
Auto = Literal["auto"]


def auto_or(limit: Range) -> Range:
    """`auto`, or what `limit` takes."""
    return Range(lambda value: value == "auto" or limit.holds(value), f"auto, or {limit.allowed}")
