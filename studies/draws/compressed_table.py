"""The table of reports/race.md that holds compressed modules against whole ones and rivals."""

from collections import defaultdict

import numpy as np

from fishpal.reporting.markdown import code, table
from studies.cells.store import Line
from studies.draws.compressed import AGAIN, COMPRESSED, MARGIN, SCRATCH, WHOLE
from studies.draws.races import over_draws
from studies.draws.settings import Compressed

Found = dict[str, Line]
"""Variant → its line, of one draw and kind."""


def compressed_table(settings: Compressed) -> str:
    """A row a task and kind of two draws or more: points that each variant gains on the whole
    modules, and the share of the parameters that the margin leaves; a row for the mean of kinds."""
    found: dict[tuple[str, str], dict[int, Found]] = defaultdict(lambda: defaultdict(dict))
    for line in COMPRESSED.find(grid=settings.grid):
        found[line["task"], line["kind"]][line["draw"]][line["variant"]] = line
    shares = [f"{share:g}" for share in settings.shares]
    variants = [*shares, MARGIN, AGAIN, SCRATCH]
    rows = []
    for (task, kind), draws in found.items():
        if len(draws) < 2:
            continue  # no spread
        whole = np.mean([100 * each[WHOLE]["score"] for each in draws.values()])
        cells = [over_draws(_gains(draws, variant)) for variant in variants]
        kept = [each[MARGIN]["modules"] / each[WHOLE]["modules"] for each in draws.values()]
        share = f"{np.mean(kept):.0%}"
        rows.append([code(task), kind, str(len(draws)), f"{whole:.1f}", *cells[:3], share])
        rows[-1] += cells[3:]
    every = [_by_draw(found, settings.kinds, variant) for variant in variants]
    cells = [over_draws(each) for each in every]
    rows.append(["all", "mean", str(len(every[0])), "", *cells[:3], "", *cells[3:]])
    header = ["task", "kind", "draws", "whole", *(f"× {share}" for share in shares)]
    header += [f"margin {settings.margin:g}", "of it", "whole, trained on", f"× {shares[0]}, small"]
    return table(header, rows)


def _gains(draws: dict[int, Found], variant: str) -> np.ndarray:
    """Points on the whole modules, a draw each."""
    own = [found[variant]["score"] - found[WHOLE]["score"] for found in draws.values()]
    return 100 * np.array(own)


def _by_draw(
    found: dict[tuple[str, str], dict[int, Found]], kinds: tuple[str, ...], variant: str
) -> np.ndarray:
    """The mean of the kinds' gains, a draw of a task each, of those that have every kind."""
    means = []
    for task in dict.fromkeys(task for task, _ in found):
        own = [found.get((task, kind), {}) for kind in kinds]
        for draw in set.intersection(*(set(each) for each in own)):
            means.append(np.mean([_gains({draw: each[draw]}, variant)[0] for each in own]))
    return np.array(means)
