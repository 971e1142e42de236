"""The sweeps' trainings that too high a rate had lost, once more and led back (`train.recover`)."""

from collections.abc import Iterator
from dataclasses import fields, replace

from fishpal.common.kinds import HeadInit
from fishpal.params.options import HeadOptions
from fishpal.records.pilot import has_learnt
from fishpal.reporting.markdown import table
from studies.cells.store import Line
from studies.cells.trainings import train_cell
from studies.rates.cells import (
    RESULTS,
    TRAINED,
    CaseStore,
    best_of,
    encoder_of,
    fixed_rate,
    task_of,
    training,
    uniform,
)
from studies.rates.settings import Case, Settings

RECOVERED = CaseStore(RESULTS / "recovered.jsonl")


def lost() -> Iterator[Line]:
    """Lines above the usual rate at none of whose looks more had been learnt than at the start."""
    for line in TRAINED.find():
        losses = [loss for _, loss in line.get("curve", [])]
        learnt = not losses or has_learnt(min(losses), losses[0])
        if line["rate"] > fixed_rate(line["kind"]) and not learnt:
            yield line


def case_of(line: Line) -> Case:
    """The case that a line is of."""
    own = {f.name: line[f.name] for f in fields(Case) if f.name in line}
    return Case(**own | {"head": HeadInit(own.get("head", HeadInit.RANDOM))})


def run_recovered(settings: Settings, line: Line) -> None:
    """Train the cell of a lost one with `train.recover`, unless it is there, and keep its line."""
    case, own = case_of(line), {name: line[name] for name in ("kind", "rate", "seed")}
    if RECOVERED.of(case, **own):
        return
    encoder = encoder_of(settings.encoders[case.encoder])
    plan = uniform(settings, case, line["kind"], line["rate"])
    options = replace(training(settings, case), recover=True)
    found = train_cell(
        encoder, task_of(case.task), plan, line["seed"], options, HeadOptions(case.head)
    )
    RECOVERED.add(case.columns() | own | found)


def recovered_table() -> str:
    """A row a lost training: what it came to, alone and led back, and what the best rate did."""
    rows = []
    for line in lost():
        case, kind = case_of(line), line["kind"]
        for again in RECOVERED.of(case, kind=kind, rate=line["rate"], seed=line["seed"]):
            swept = {each["rate"]: each for each in TRAINED.of(case, kind=kind)}
            best = swept[best_of(case, kind, list(swept))]
            place = f"{case.task}, {case.encoder.replace('_', ' ')}, {case.size}"
            back = ", ".join(map(str, again.get("collapsed", []))) or "no"
            found = [f"{each['loss']:.3f} ({each['score']:.3f})" for each in (line, again, best)]
            rows.append([place, kind, f"{line['rate']:.2g}", *found[:2], back,
                         f"{best['rate']:.2g}: {found[2]}"])  # fmt: skip
    header = [
        "case",
        "kind",
        "rate",
        "lost: loss (score)",
        "led back",
        "at updates",
        "the best rate tried",
    ]
    return table(header, rows)
