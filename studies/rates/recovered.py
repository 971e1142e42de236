"""The sweeps' trainings that too high a rate had lost, beside what `train.recover` made of them."""

from collections.abc import Iterator
from dataclasses import fields

from fishpal.common.validate import decode
from fishpal.records.pilot import has_learnt
from fishpal.reporting.markdown import table
from studies.cells.store import Line
from studies.rates.cells import RECOVERED, TRAINED, best_of, fixed_rate
from studies.rates.settings import Case

HEADER = ["case", "kind", "rate", "lost: loss (score)", "led back", "at updates", "best rate tried"]


def lost() -> Iterator[Line]:
    """Lines above the usual rate at none of whose looks more had been learnt than at the start."""
    for line in TRAINED.lines():
        losses = [loss for _, loss in line.get("curve", [])]
        learnt = not losses or has_learnt(min(losses), losses[0])
        if line["rate"] > fixed_rate(line["kind"]) and not learnt:
            yield line


def case_of(line: Line) -> Case:
    """The case that a line is of."""
    own = {f.name: line[f.name] for f in fields(Case) if f.name in line}
    found: Case = decode(Case, own, str(TRAINED.path))
    return found


def recovered_table() -> str:
    """A row a lost training: what it came to, alone and led back, and what the best rate did."""
    rows = []
    for line in lost():
        case, kind, rate = case_of(line), line["kind"], line["rate"]
        for again in RECOVERED.of(case, kind=kind, rate=rate, seed=line["seed"]):
            tried = {each["rate"]: each for each in TRAINED.of(case, kind=kind)}
            best = tried[best_of(case, kind, list(tried))]
            back = ", ".join(map(str, again.get("collapsed", []))) or "no"
            alone, led, most = (
                f"{each['loss']:.3f} ({each['score']:.3f})" for each in (line, again, best)
            )
            rows.append(
                [case.place, kind, f"{rate:.2g}", alone, led, back, f"{best['rate']:.2g}: {most}"]
            )
    return table(HEADER, rows)
