"""The tables of reports/rates.md that the study makes, and its picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from fishpal.reporting.markdown import table
from studies.marked_part import write_part
from studies.rates.recovered import recovered_table
from studies.rates.rivals import FEW, RIVALS, Found, findings, halving_cost
from studies.rates.settings import Settings

REPORT, TABLES = Path("reports/rates.md"), Path("reports/rates_tables.md")
PICTURE = Path("docs/pictures/rates.svg")
RIVALS_OF = "the cut encoder"
FURTHER = {  # by whether the kinds are vectors, and whether all is tuned
    (False, False): "other sizes and encoders",
    (True, False): "BitFit, (IA)³",
    (False, True): "full fine-tuning",
}
COLOURS = {"auto": "#0b62a4", "fixed": "#d95f02"}


def write_report(settings: Settings) -> None:
    """Replace what stands between the marks in both reports, and draw the picture."""
    found = list(findings(settings, settings.cases))
    judged, tables = {RIVALS_OF: found}, [per_case(found, RIVALS)]
    for group, name in FURTHER.items():
        own = [case for case in settings.further if (case.vectors, case.full) == group]
        further = list(findings(settings, own))
        judged[name] = [f for f in further if f.case.plain not in settings.fitted.cases]
        tables += [per_case(further, FEW)] if judged[name] else []
    write_part(REPORT, "studies/rates", summary(settings, judged))
    write_part(TABLES, "studies/rates", "\n\n".join([*tables, recovered_table()]))
    draw(judged)


def regrets(found: Sequence[Found], rival: str) -> NDArray[np.float64]:
    """Evaluation loss of one rival above the sweep's, a case and kind each."""
    sweep = {(f.case, f.kind): f.loss for f in found if f.rival == "sweep"}
    return np.array([f.loss - sweep[f.case, f.kind] for f in found if f.rival == rival])


def summary(settings: Settings, judged: Mapping[str, Sequence[Found]]) -> str:
    """A row a rival and group of cases: its regret over these, and what it costs."""
    most, rows = len(settings.factors), []
    cost = {"auto": "the Fisher table", "line search": "10 forward passes"}
    cost |= {"halving": f"{halving_cost(most):g} trainings a kind"}
    for name, found in judged.items():
        own = cost | {
            "sweep": f"{most} trainings a kind" if name == RIVALS_OF else f"3 to {most - 1}"
        }
        sweep = {(f.case, f.kind): f.score for f in found if f.rival == "sweep"}
        for rival in RIVALS if name == RIVALS_OF else FEW:
            values = regrets(found, rival)
            if not len(values):
                continue
            points = [f.score - sweep[f.case, f.kind] for f in found if f.rival == rival]
            spread = [np.median(values), np.quantile(values, 0.9), values.max()]
            rows.append(
                [name, rival, *(f"{value:+.3f}" for value in spread)]
                + [f"{100 * np.median(points):+.1f}", own.get(rival, "nothing")]
            )
    header = [
        "cases",
        "rate by",
        "median",
        "9 of 10 below",
        "worst",
        "median score, points",
        "cost",
    ]
    return table(header, rows)


def per_case(found: Sequence[Found], rivals: Sequence[str]) -> str:
    """A row a case and kind: rate and evaluation loss of every rival."""
    rows = []
    for case, kind in dict.fromkeys((f.case, f.kind) for f in found):
        own = {f.rival: f for f in found if (f.case, f.kind) == (case, kind)}
        cells = [f"{own[r].rate:.2g}: {own[r].loss:.3f}" for r in rivals]
        rows.append([case.place, kind, *cells])
    return table(["case", "kind", *rivals], rows)


def draw(judged: Mapping[str, Sequence[Found]]) -> None:
    """Regret by rival, and of auto and the fixed rate by group; a dot a case and kind."""
    with plt.rc_context({"svg.hashsalt": "fishpal", "svg.fonttype": "none"}):
        figure, (left, right) = plt.subplots(1, 2, figsize=(9, 2.8), layout="constrained")
        for row, rival in enumerate(reversed(RIVALS)):
            values = regrets(judged[RIVALS_OF], rival)
            left.plot(values, np.full(len(values), row), "o", alpha=0.6, color=COLOURS["auto"])
        left.set_yticks(range(len(RIVALS)), reversed(RIVALS))
        left.set_title(f"{RIVALS_OF}, by rival")
        names = list(reversed(FURTHER.values()))
        for place, (rival, colour) in zip((0.15, -0.15), COLOURS.items(), strict=True):
            for row, name in enumerate(names):
                values, label = regrets(judged[name], rival), rival if row == 0 else None
                rows = np.full(len(values), row + place)
                right.plot(values, rows, "o", alpha=0.6, color=colour, label=label)
        right.set_yticks(range(len(names)), names)
        right.set_title("elsewhere")
        right.legend(frameon=False, loc="center right")
        for axes in (left, right):
            axes.axvline(0, color="#888888", linewidth=0.8)
            axes.set_xlabel("evaluation loss above the sweep's best")
        figure.savefig(PICTURE, metadata={"Date": None})
        plt.close(figure)
