"""The parts of `reports/benchmarks.md`, each written by a benchmark of its own."""

import re
from pathlib import Path

from fishpal.common.files import write_text

REPORT = Path("reports/benchmarks.md")


def write_part(title: str, text: str) -> None:
    """Replace the part under a title, or put it at the end."""
    old = REPORT.read_text(encoding="utf-8") if REPORT.is_file() else ""
    parts = {}
    for part in filter(None, re.split(r"^(?=# )", old, flags=re.MULTILINE)):
        parts[part.partition("\n")[0].removeprefix("# ")] = part.strip() + "\n"
    parts[title] = f"# {title}\n\n{text.strip()}\n"
    write_text(REPORT, "\n".join(parts.values()))
