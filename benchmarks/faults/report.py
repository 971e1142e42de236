"""The table of faults, `reports/faults.md`."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence

from benchmarks.faults.kinds import DISK, NETWORK, RUNNING, STORED
from fishpal.common.files import write_text
from fishpal.reporting.markdown import escape, table

HEADER = ["fault", "faults", "then the same bytes", "manual steps", "wrong or half artifacts",
          "silent"]  # fmt: skip
INTRODUCTION = """\
A tiny encoder and a toy task in temporary clones, driven by the real `dvc` (`make faults`). A
clone's pipeline is struck again and again, at seeded random moments, until it completes; then
stored artifacts are damaged. Whenever a run says that it is done, every output must have the bytes
of an undisturbed run."""
LEGEND = """\
Same bytes: the run that followed (for faults of a running pipeline: the one that completed it)
ended with every output as in an undisturbed run. Silent: it said that it was done, and was not."""


def write_report(
    counts: Mapping[str, Counter[str]], steps: Counter[str], findings: Sequence[str], facts: str
) -> None:
    """Write the table, the manual steps and what else was seen."""
    rows = []
    for kind in [*RUNNING, DISK, NETWORK, *STORED]:
        counter = counts.get(kind, Counter())
        numbers = [counter[key] for key in ("faults", "same", "manual", "wrong", "silent")]
        rows.append([kind, *(str(number) for number in numbers)])
    total = [sum(int(row[i]) for row in rows) for i in range(1, len(HEADER))]
    rows.append(["**all**", *(f"**{number}**" for number in total)])
    text = [
        "# Faults",
        INTRODUCTION,
        table(HEADER, rows),
        LEGEND,
        "Manual steps that were needed:",
        "\n".join(f"- {step}: {number}" for step, number in steps.items()) or "- none",
        "What else was seen:",
        "\n".join(f"- {escape(one)}" for one in findings[:20]) or "- nothing",
        f"{facts} {os.cpu_count()} cores, Python {platform.python_version()}, Linux.",
    ]
    write_text("reports/faults.md", "\n\n".join(text) + "\n")
