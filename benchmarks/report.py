"""The parts of `reports/benchmarks.md`, each written by a benchmark of its own."""

import os
import platform
import re
from pathlib import Path

import torch

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


def machine() -> str:
    """The CPU, on Linux by name, what it multiplies with, and its cores."""
    name, cpuinfo = platform.machine(), Path("/proc/cpuinfo")
    for line in cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else ():
        if line.startswith("model name"):
            name = line.partition(":")[2].strip()
    has = torch.cpu.get_capabilities()
    sets = [each for each in ("avx2", "avx512_f", "avx512_bf16", "amx_bf16") if has.get(each)]
    return f"{name} ({', '.join(sets)}), {os.cpu_count()} cores with other work beside"
