"""What the report warns about: lines that other code has made, criteria that no line has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fishpal.reporting.markdown import code
from studies.criteria.design.names import store_path
from studies.criteria.trainings.provenance import code_of
from studies.criteria.trainings.store import read_lines

GROUPS = ("sweep", "halving", "probe", "plans", "budget", "chosen", "selected", "signals", "shared")


def warnings(unmeasured: Sequence[str]) -> str:
    """A paragraph each: lines of unknown code, lines of changed code by group, missing criteria.

    Args:
        unmeasured: criteria of the library that were not measured.
    """
    unknown, changed, total = 0, Counter[str](), 0
    for group in GROUPS:
        for line in read_lines(group):
            total += 1
            made_by = line.get("code")
            unknown += made_by is None
            changed[group] += made_by is not None and made_by != code_of(group)
    parts = []
    if unknown:
        parts.append(
            f"**Warning**: {unknown:,} of the store's {total:,} lines were made before code, torch"
            " and processor were kept with them: whether code has changed since, nobody can tell."
        )
    parts += [
        f"**Warning**: the code has changed since {count:,} lines of `{group}` were made."
        for group, count in changed.items()
        if count
    ]
    if unmeasured:
        names = ", ".join(map(code, unmeasured))
        file = code(str(store_path("signals")))
        parts.append(f"**Warning**: {file} says nothing of {names}; without it all is measured.")
    return "\n\n".join(parts) or "No line was made by other code than the present one."
