"""What the report says of lines that other code than the present one has made."""

from __future__ import annotations

from collections import Counter

from studies.criteria.trainings.provenance import code_of
from studies.criteria.trainings.store import read_lines

GROUPS = ("sweep", "halving", "probe", "plans", "budget", "chosen", "selected", "signals")


def warnings() -> str:
    """A paragraph each: lines of unknown code, and lines of changed code by group."""
    unknown, changed, total = 0, Counter[str](), 0
    for group in GROUPS:
        for line in read_lines(group):
            total += 1
            made_by = line.get("code")
            unknown += made_by is None
            changed[group] += made_by not in (None, code_of(group))
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
    return "\n\n".join(parts) or "No line was made by other code than the present one."
