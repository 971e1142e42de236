"""The one exception that every bad input ends in."""

import warnings
from collections.abc import Iterable
from difflib import get_close_matches


class FishpalError(ValueError):
    """A bad input: the message names the file or key, the value, and what is allowed.

    It is a `ValueError`, so that pydantic reports one raised in a dataclass together with the
    key that it belongs to.
    """


class ParamsError(FishpalError):
    """params.yaml holds something unknown, of the wrong type or out of range."""


class DataError(FishpalError):
    """A data set, its columns, labels or splits are not usable."""


class SourceError(FishpalError):
    """A package, hub entry or file could not be fetched or is not what was asked for."""


class EncoderError(FishpalError):
    """The encoder is of an unsupported type, incomplete, or lacks what a plan names."""


class AttachError(FishpalError):
    """A plan does not fit the encoder that it is to be attached to."""


class TrainingError(FishpalError):
    """Training diverged: a loss is no longer a finite number."""


class ProcessError(FishpalError):
    """One of several processes that share some work has ended before the others."""


class PlanError(FishpalError):
    """A plan, Fisher table or trained folder is malformed or belongs to something else."""


class FishpalWarning(UserWarning):
    """Something was dropped, cut, guessed or is badly scaled; the result may surprise."""


def caution(message: str) -> None:
    """Warn the caller of whoever calls this; a stage prints it as one line."""
    warnings.warn(message, FishpalWarning, stacklevel=3)


def brief(value: object, limit: int = 60) -> str:
    """A value's text for a message: one printable line of at most `limit` characters."""
    text = str(value)
    short = text if len(text) <= limit else text[: limit - 3] + "..."
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in short)


def hint(name: object, allowed: Iterable[str]) -> str:
    """` (did you mean 'x'?)` for the nearest allowed name, or nothing."""
    near = get_close_matches(brief(name), list(allowed), n=1)
    return f" (did you mean '{near[0]}'?)" if near else ""


def one_of(what: str, value: object, allowed: Iterable[str]) -> str:
    """The message for a value outside a closed list, with the nearest allowed one."""
    names = sorted(allowed)
    listed = ", ".join(names) or "none"
    return f"{what} is '{brief(value)}'{hint(value, names)}; allowed: {listed}"
