"""Markdown that no text of a user can break, and the report's number formats."""

import html
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from statistics import stdev
from typing import Any

from fishpal.common.choices import Choice, modules_of

LONGEST = 80  # characters of a user's text shown
MARKS = re.compile(r"([\\`*_\[\]()#!|~$@:])")


def escape(value: object, longest: int = LONGEST) -> str:
    """A user's text as one line of plain text, in HTML, Markdown and tables alike."""
    text = MARKS.sub(r"\\\1", plain(value, longest))
    text = re.sub(r"(?i)\bwww\.", lambda found: found[0][:-1] + "\\.", text)  # becomes a link
    return html.escape(text, quote=False)


def plain(value: object, longest: int = LONGEST) -> str:
    """A user's text as one line, for where something else escapes it.

    Control and formatting characters (line breaks, right-to-left overrides) become spaces, runs
    of white space one space, and what is longer than `longest` is cut with "…".
    """
    printable = (" " if unicodedata.category(c) in _UNSEEN else c for c in str(value))
    text = " ".join("".join(printable).split())
    return text[: longest - 1] + "…" if len(text) > longest else text


_UNSEEN = {"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"}


def code(name: str) -> str:
    """A checked name (of a task, method, metric or split) in code type."""
    return f"`{name}`"


def codes(names: Sequence[str]) -> str:
    return ", ".join(map(code, names))


def letters(choice: Choice) -> str:
    """A layer's modules, by their kinds' first letters and sizes: `L`, `PA`, `L8`; `·` for none."""
    return "".join(f"{m.kind[0].upper()}{m.size or ''}" for m in modules_of(choice)) or "·"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is aligned left, the others right."""
    lines = [header, ["---", *("---:" for _ in header[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def count(number: float, noun: str) -> str:
    """`1 seed`, `2 seeds`, `1,200 examples`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def compact(number: int) -> str:
    """A count in units of a thousand or a million: `950`, `221.2 K`, `22.7 M`."""
    for unit, size in (("M", 1_000_000), ("K", 1_000)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return str(number)


def parameters(number: int, encoder: int) -> str:
    """A count and its share of the encoder's parameters."""
    share = 100 * number / encoder
    return f"{compact(number)} ({'< 0.01' if 0 < share < 0.01 else f'{share:.2f}'} %)"


def mean_sd(values: Sequence[float]) -> str:
    """Mean ± standard deviation (n - 1 in the denominator); the mean alone of one value."""
    spread = f" ± {stdev(values):.4f}" if len(values) > 1 else ""
    return f"{sum(values) / len(values):.4f}{spread}"


def flat(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """A record as dotted keys and printed values, whatever it holds."""
    if isinstance(value, Mapping) and value:
        for name, each in value.items():
            yield from flat(each, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple) and any(isinstance(each, Mapping) for each in value):
        for number, each in enumerate(value):
            yield from flat(each, f"{key}.{number}")
    elif key:
        yield key, _printed(value)


def _printed(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_printed, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value == {}:
        return "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
