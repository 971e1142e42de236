"""Stage `report`: every cell of the grid → reports/."""

from __future__ import annotations

from pathlib import Path

from fishpal.params.load import Params
from fishpal.reporting.grid import read_results
from fishpal.reporting.write import write_report
from stages.runner import ARTIFACTS, run

REPORTS = Path("reports")


def report(params: Params) -> None:
    """Gather the cells of the current grid and write text, metrics, plot tables and figures."""
    write_report(REPORTS, params, read_results(params, ARTIFACTS.root))


if __name__ == "__main__":
    run(report)
