"""What each way of finding a rate would have got on a case, from the trainings that are there."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from studies.cells.store import Line
from studies.rates.cells import MEASURED, TRAINED, auto_rate, fixed_rate
from studies.rates.prodigy import PRODIGY
from studies.rates.settings import KINDS, Case, Settings

RIVALS = ("auto", "fixed", "thesis", "line search", "Prodigy", "halving", "sweep")
FEW = ("auto", "fixed", "sweep")  # of the further cases
HALVED = ((0.25, 2), (0.5, 1))  # after this share of the updates, so many rates stay


@dataclass(frozen=True)
class Found:
    """One rival on one case and kind: evaluation loss and score at its rate."""

    case: Case
    kind: str
    rival: str
    rate: float
    loss: float
    score: float


def findings(settings: Settings, cases: Sequence[Case]) -> Iterator[Found]:
    """Of every one of these cases and kinds whose sweep is complete."""
    for case in cases:
        for kind in case.kinds if MEASURED.of(case) else ():
            chosen = _chosen(settings, case, kind)
            wanted = RIVALS if case in settings.cases else FEW
            if all(rival in chosen for rival in wanted):
                for rival in wanted:
                    line = chosen[rival]
                    yield Found(case, kind, rival, line["rate"], line["loss"], line["score"])


def _chosen(settings: Settings, case: Case, kind: str) -> dict[str, Line]:
    """What every rival that has run would have got."""
    measured = MEASURED.of(case)[0]
    cells = TRAINED.of(case, kind=str(kind))
    usual = fixed_rate(kind)
    at = {i: _at(cells, usual * factor) for i, factor in enumerate(settings.factors)}
    swept = {i: line for i, line in at.items() if line}
    auto = auto_rate(settings, measured, case, kind)
    trained = [line for line in cells if not line["diverged"]]
    found: dict[str, Line | None] = {
        # At today's rate, or read off between the nearest trainings.
        "auto": _at(cells, auto) or (between(trained, auto) if trained else None),
        "fixed": _at(cells, usual),
        "thesis": _at(cells, settings.thesis[kind]) if kind in settings.thesis else None,
    }
    for line in PRODIGY.of(case, kind=str(kind)):
        found["Prodigy"] = line | {"rate": line["rates"][0]}
    if case in settings.cases and len(swept) == len(settings.factors):
        share = line_search_shares(settings)[kind]
        found["line search"] = between([*swept.values()], share * measured["critical"][kind])
        found["halving"] = halved([*swept.values()])
    best = min(swept, key=lambda i: swept[i]["selection_loss"], default=None)
    if best is not None and all(i in swept for i in (best - 1, best + 1) if i in at):
        found["sweep"] = swept[best]  # its neighbours are worse
    return {rival: line for rival, line in found.items() if line}


def line_search_shares(settings: Settings) -> dict[str, float]:
    """A kind's best rate as a share of the critical one: geometric mean over the fitted cases."""
    found = [MEASURED.of(case)[0]["critical"] for case in settings.fitted.cases]
    best = settings.fitted.best
    return {
        kind: math.exp(np.mean([math.log(best[kind] / each[kind]) for each in found]))
        for kind in KINDS
    }


def halved(swept: Sequence[Line]) -> Line:
    """Successive halving by the selection loss: each rate's one training is stopped or goes on."""
    left = list(swept)
    for share, keep in HALVED:
        left.sort(key=lambda line: _best_until(line, share))
        left = left[:keep]
    return left[0]


def halving_cost(rates: int) -> float:
    """In trainings."""
    begun, cost, stay = 0.0, 0.0, rates
    for share, keep in (*HALVED, (1.0, 1)):
        cost, begun, stay = cost + stay * (share - begun), share, keep
    return cost


def between(swept: Sequence[Line], rate: float) -> Line:
    """Loss and score at a rate, linear in its logarithm between the two of the sweep around it."""
    swept = sorted(swept, key=lambda line: line["rate"])
    x = [math.log(line["rate"]) for line in swept]
    at = {
        key: float(np.interp(math.log(rate), x, [line[key] for line in swept]))
        for key in ("loss", "score")
    }
    return at | {"rate": rate}


def _best_until(line: Line, share: float) -> float:
    """Lowest selection loss within this share of the updates."""
    last = line["curve"][-1][0]
    return min(float(loss) for update, loss in line["curve"] if update <= share * last + 1)


def _at(cells: Sequence[Line], rate: float) -> Line | None:
    """The training at a rate, which is one within 5 % of it."""
    near = [c for c in cells if not c["diverged"] and abs(math.log(c["rate"] / rate)) < 0.052]
    return min(near, key=lambda c: abs(math.log(c["rate"] / rate)), default=None)
