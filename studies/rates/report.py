"""The tables of reports/rates.md that the study makes, and its picture."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from fishpal.reporting.markdown import table
from studies.marked_part import write_part
from studies.rates.recovered import recovered_table
from studies.rates.rivals import FEW, RIVALS, Found, findings, halving_cost
from studies.rates.settings import Settings

REPORT = Path("reports/rates.md")
PICTURE = Path("docs/pictures/rates.svg")


def write_report(settings: Settings) -> None:
    """Replace what stands between the marks in the report, and draw the picture."""
    found = list(findings(settings, settings.cases))
    parts = [summary(settings, found, RIVALS), per_case(found, RIVALS)]
    for group in ((False, False), (True, False), (False, True)):
        own = [case for case in settings.further if (case.vectors, case.full) == group]
        further = list(findings(settings, own))
        judged = [f for f in further if f.case.plain not in settings.fitted.cases]
        parts += [summary(settings, judged, FEW), per_case(further, FEW)] if judged else []
    write_part(REPORT, "studies/rates", "\n\n".join([*parts, recovered_table()]))
    draw(found)


def regrets(found: Sequence[Found], rival: str) -> NDArray[np.float64]:
    """Evaluation loss of one rival above the sweep's, a case and kind each."""
    sweep = {(f.case, f.kind): f.loss for f in found if f.rival == "sweep"}
    return np.array([f.loss - sweep[f.case, f.kind] for f in found if f.rival == rival])


def summary(settings: Settings, found: Sequence[Found], rivals: Sequence[str]) -> str:
    """A row a rival: its regret over all cases and kinds, and what it costs."""
    most = len(settings.factors)
    cost = {
        "auto": "the Fisher table",
        "fixed": "nothing",
        "thesis": "nothing",
        "line search": "10 forward passes",
        "Prodigy": "nothing",
        "halving": f"{halving_cost(most):g} trainings a kind",
        "sweep": f"{most} trainings a kind" if rivals == RIVALS else f"3 to {most - 1} a kind",
    }
    sweep = {(f.case, f.kind): f.score for f in found if f.rival == "sweep"}
    rows = []
    for rival in rivals:
        values = regrets(found, rival)
        points = [f.score - sweep[f.case, f.kind] for f in found if f.rival == rival]
        rows.append(
            [
                rival,
                f"{np.median(values):+.3f}",
                f"{np.quantile(values, 0.9):+.3f}",
                f"{values.max():+.3f}",
                f"{100 * np.median(points):+.1f}",
                cost[rival],
            ]
        )
    header = ["rate by", "median", "9 of 10 below", "worst", "median score, points", "cost"]
    return table(header, rows)


def per_case(found: Sequence[Found], rivals: Sequence[str]) -> str:
    """A row a case and kind: rate and evaluation loss of every rival."""
    rows = []
    for case, kind in dict.fromkeys((f.case, f.kind) for f in found):
        own = {f.rival: f for f in found if (f.case, f.kind) == (case, kind)}
        cells = [f"{own[r].rate:.2g}: {own[r].loss:.3f}" for r in rivals]
        rows.append([case.place, kind, *cells])
    return table(["case", "kind", *rivals], rows)


def draw(found: Sequence[Found]) -> None:
    """Regret by rival, a dot a case and kind."""
    with plt.rc_context({"svg.hashsalt": "fishpal", "svg.fonttype": "none"}):
        figure, axes = plt.subplots(figsize=(7, 2.6), layout="constrained")
        for row, rival in enumerate(reversed(RIVALS)):
            values = regrets(found, rival)
            axes.plot(values, np.full(len(values), row), "o", alpha=0.6, color="#0b62a4")
        axes.set_yticks(range(len(RIVALS)), reversed(RIVALS))
        axes.axvline(0, color="#888888", linewidth=0.8)
        axes.set_xlabel("evaluation loss above the sweep's best")
        figure.savefig(PICTURE, metadata={"Date": None})
        plt.close(figure)
