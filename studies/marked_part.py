"""The part of a report that a study makes, between two marks; the rest is written by hand."""

from pathlib import Path

END = "<!-- end -->"


def write_part(report: Path, room: str, body: str) -> None:
    """Replace what stands between `<!-- made by ROOM -->` and `<!-- end -->`."""
    begin = f"<!-- made by {room} -->"
    before, rest = report.read_text("utf-8").split(begin)
    after = rest.split(END)[1]
    report.write_text(f"{before}{begin}\n\n{body}\n\n{END}{after}", encoding="utf-8")
