"""The one line to show of a command's words."""

from __future__ import annotations


def last_line(said: str) -> str:
    """The last error of a stage, else of DVC, else just the last line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()] or ["no words"]
    for start in ("error: ", "ERROR: ", ""):
        for line in reversed(lines):
            if line.startswith(start):
                return line
    return lines[-1]
