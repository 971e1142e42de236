"""The canvas of the report's figures: PNG files, or SVG for a page.

The same figure gives the same bytes. `Figure` is used without pyplot, which would pick a backend
by the display and keep state, and with matplotlib's own defaults, whatever the user's
matplotlibrc says.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fishpal.common.files import replacing
from fishpal.reporting.comparison import TaskReport

DPI = 120
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E3E3E3",
    "legend.frameon": False,
}
# What a page draws in its own colours, light or dark, is written in these and then replaced.
INK, FAINT, BLACK = "#010203", "#010204", "#000000"
INKED = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
SVG_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "fishpal",  # ids: random ones otherwise
    "svg.fonttype": "none",
    "grid.color": FAINT,
} | dict.fromkeys(INKED, INK)


@contextmanager
def figure_file(path: str | Path | BytesIO, size: tuple[float, float]) -> Iterator[Figure]:
    """A figure of that size in inches, written when the block ends well: to a path as PNG, to a
    buffer as SVG in `INK` and `FAINT` on nothing."""
    vector = isinstance(path, BytesIO)
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE | (SVG_STYLE if vector else {}))
        figure = Figure(figsize=size, dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        if isinstance(path, BytesIO):
            nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
            figure.savefig(path, format="svg", transparent=True, metadata=nothing)
            return
        with replacing(path) as draft:
            # Neither version nor date of the writer: they would change the bytes.
            figure.savefig(draft, format="png", metadata={"Software": None})


def ink(text: str) -> str:
    """Colours that a dark page would hide → the page's own."""
    return text.replace(INK, "currentColor").replace(BLACK, "currentColor")


def figure_svg(draw: Callable[[BytesIO, TaskReport], None], report: TaskReport) -> str:
    """An `<svg>` element for a page: its ink is the page's `currentColor`, its grid `--line`.

    Black text has no colour in it, and stays black on its shade of a heat map. Ids begin with the
    figure's own name, so that several may stand in one page.
    """
    buffer = BytesIO()
    draw(buffer, report)
    svg = buffer.getvalue().decode("utf-8")
    svg = ink(svg[svg.index("<svg") :]).replace(FAINT, "var(--line)")
    name = f"{report.results.name}-{draw.__name__}-"
    return re.sub(r"( id=\"|url\(#|href=\"#)", rf"\g<1>{name}", svg)
