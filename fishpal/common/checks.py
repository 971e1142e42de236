"""Checks of one value: each raises `ParamsError` with key, value and what is allowed."""

import math
from collections.abc import Collection

from fishpal.common.errors import ParamsError, brief, one_of

MAX_RATE = 100.0
MAX_SIZE = 2**14  # of ranks and the like: some 8 times what anybody uses


def check(ok: bool, name: str, value: object, allowed: str) -> None:
    """Raise unless `ok`."""
    if not ok:
        raise ParamsError(f"{name} is {brief(value)}; allowed: {allowed}")


def check_positive(**values: float | None) -> None:
    """None, where a type allows it, is not looked at."""
    for name, value in values.items():
        ok = value is None or (value > 0 and math.isfinite(value))
        check(ok, name, value, "a finite number above 0")


def check_size(**values: int) -> None:
    """A module far beyond any in use ends in the allocator's error, or the process is killed."""
    for name, value in values.items():
        check(0 < value <= MAX_SIZE, name, value, f"an integer from 1 to {MAX_SIZE}")


def check_rate(name: str, rate: float) -> None:
    """Adam moves every parameter by about the rate, whatever its gradient: 100 is already absurd,
    and far larger ones end in torch's own error, beyond float32."""
    check(0 < rate <= MAX_RATE, name, rate, f"above 0 up to {MAX_RATE:g}")


def check_share(**values: float) -> None:
    for name, value in values.items():
        check(0 <= value < 1, name, value, "0 up to, not including, 1")


def check_choice(name: str, value: str, allowed: Collection[str]) -> None:
    if value not in allowed:
        raise ParamsError(one_of(name, value, allowed))
