"""Tables of faults, `reports/faults.md`: a part for each of the programs that strike."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fishpal.common.files import write_text
from fishpal.reporting.markdown import escape, table

REPORT = Path("reports/faults.md")
HEADER = ["fault", "faults", "then the same bytes", "manual steps", "wrong or half artifacts",
          "silent"]  # fmt: skip
LEGEND = """\
Same bytes: the run that followed (for faults of a running pipeline: the one that completed it)
ended with every output as in an undisturbed run. Silent: it said that it was done, and was not."""


@dataclass
class Part:
    """What one program found: by kind of fault, steps that a user has to take, and the rest."""

    title: str
    introduction: str
    kinds: Sequence[str]
    facts: str = ""
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    steps: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def count(self, kind: str, what: str, number: int = 1) -> None:
        self.counts.setdefault(kind, Counter())[what] += number

    @property
    def faults(self) -> int:
        return sum(counter["faults"] for counter in self.counts.values())

    def text(self) -> str:
        rows = []
        for kind in self.kinds:
            counter = self.counts.get(kind, Counter())
            numbers = [counter[key] for key in ("faults", "same", "manual", "wrong", "silent")]
            rows.append([kind, *(str(number) for number in numbers)])
        total = [sum(int(row[i]) for row in rows) for i in range(1, len(HEADER))]
        rows.append(["**all**", *(f"**{number}**" for number in total)])
        steps = "\n".join(f"- {step}: {number}" for step, number in self.steps.items())
        return "\n\n".join([
            f"# {self.title}",
            self.introduction,
            table(HEADER, rows),
            LEGEND,
            "Manual steps that were needed:",
            steps or "- none",
            "What else was seen:",
            "\n".join(f"- {escape(one)}" for one in self.findings[:20]) or "- nothing",
            f"{self.facts} {os.cpu_count()} cores, Python {platform.python_version()}, Linux.",
        ])  # fmt: skip


def write_report(part: Part) -> None:
    """Put the part into the report, in place of what it found last; the others stay."""
    old = REPORT.read_text().strip() if REPORT.is_file() else ""
    parts = {text.split("\n")[0].lstrip("# "): text for text in old.split("\n\n# ") if text}
    parts[part.title] = part.text()
    write_text(REPORT, "\n\n# ".join(text.removeprefix("# ") for text in parts.values()).join(
        ["# ", "\n"]))  # fmt: skip
