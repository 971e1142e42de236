"""What each way of finding a rate would have got on a case, from the trainings that are there."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from studies.rates.cells import KINDS, MEASURED, TRAINED, Line
from studies.rates.settings import Case, Settings

RIVALS = ("auto", "fixed", "thesis", "line search", "halving", "sweep")
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


def findings(settings: Settings) -> Iterator[Found]:
    """Of every case and kind whose sweep is complete."""
    shares = line_search_shares(settings)
    for case in settings.cases:
        found = MEASURED.find(**asdict(case))
        for kind in KINDS if found else ():
            (measured,) = found
            cells = TRAINED.find(**asdict(case), kind=kind.value)
            usual = measured["reasons"][kind]["usual"]
            rates = [usual, settings.thesis[kind], measured["auto"][kind]]
            rates += [usual * factor for factor in settings.factors]
            lines = [line for rate in rates if (line := _at(cells, rate))]
            if len(lines) < len(rates):
                continue
            (fixed, thesis, auto), swept = lines[:3], lines[3:]
            chosen: dict[str, Line] = {
                "auto": auto,
                "fixed": fixed,
                "thesis": thesis,
                "line search": between(swept, shares[kind] * measured["critical"][kind]),
                "halving": halved(swept),
                "sweep": min(swept, key=lambda line: line["selection_loss"]),
            }
            for rival, line in chosen.items():
                yield Found(case, kind, rival, line["rate"], line["loss"], line["score"])


def line_search_shares(settings: Settings) -> dict[str, float]:
    """A kind's best rate as a share of the critical one: geometric mean over the fitted cases."""
    found = [MEASURED.find(**asdict(case))[0]["critical"] for case in settings.fitted.cases]
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
