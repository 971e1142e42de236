"""What is chosen of a draw, and its trainings, kept line by line: a run goes on where it was."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache, lru_cache

from fishpal.api.encoder import TextEncoder, load_encoder
from fishpal.api.steps import Measurement, measure, select
from fishpal.api.task import Task
from fishpal.common.validate import decode
from fishpal.params.load import Params
from fishpal.params.sections import Tokenize
from fishpal.records.pilot import Pilot
from fishpal.records.plan import Plan
from fishpal.tasks.clean import build_splits
from fishpal.tasks.rows import load_frames
from studies.cells.store import Line, Store
from studies.cells.trainings import train_cell
from studies.draws.settings import ROOM, Grid, load_settings, params_of

CHOSEN = Store(ROOM / "results" / "chosen.jsonl")
TRAINED = Store(ROOM / "results" / "trained.jsonl")
DRAW = ("grid", "task", "draw")  # the columns that a draw is known by
LOST = {"score": 0.0, "loss": float("inf"), "right": "", "kept": 0}  # of what diverged


@cache
def encoder_of(folder: str) -> TextEncoder:
    """One for all grids that name it."""
    return load_encoder(folder)


@cache
def parts_of(params: str, name: str, draw: int) -> tuple[Task, Task]:
    """Train rows, to be cut by a draw, and all rows of the split that is reported."""
    own: Params = params_of(params)
    entry, tokenize = own.task(name), Tokenize(own.tokenize.max_length, draw)
    splits = build_splits(entry, load_frames(entry.source, entry.columns), name).splits
    (other,) = (split for split in splits if split != "train")
    train, test = (Task(name, splits[split], entry, tokenize) for split in ("train", other))
    return train, test


def choose(grid: Grid, task: str, draw: int) -> Line:
    """Fisher table, pilot and every method's plan, of now or before."""
    columns = {"grid": grid.name, "task": task, "draw": draw}
    if not CHOSEN.find(**columns):
        params = params_of(grid.name)
        found = measured(grid.pilot_of or grid.name, task, draw)
        if grid.pilot_of:
            found = replace(found, pilot=averaged(found.pilot))
        methods = {name: params.method(name) for name in grid.methods}
        plans = {name: select(found, method, params.select) for name, method in methods.items()}
        own = {"pilot": found.pilot.to_json(), "plans": {n: p.to_json() for n, p in plans.items()}}
        CHOSEN.add(columns | own)
    return CHOSEN.find(**columns)[0]


@lru_cache(maxsize=1)
def measured(name: str, task: str, draw: int) -> Measurement:
    """Fisher table and pilot of a grid's draw."""
    params, encoder = params_of(name), encoder_of(load_settings().grid(name).encoder)
    train, _ = parts_of(name, task, draw)
    return measure(encoder, train, params.fisher, params.modules, params.head, params.train)


def averaged(pilot: Pilot) -> Pilot:
    """The same race with `train.schedule` averaged: trainings are as long as its last arm's."""
    return replace(pilot, averaged=True, updates=max(arm.updates for arm in pilot.raced()))


def plans_of(chosen: Line) -> dict[str, Plan]:
    """Method → its plan."""
    where = str(CHOSEN.path)
    return {name: decode(Plan, plan, where) for name, plan in chosen["plans"].items()}


def trained_as(chosen: Line) -> dict[str, str]:
    """Method → the first one whose plan trains to the same."""
    seen: list[tuple[dict[str, object], str]] = []
    found = {}
    for method, plan in plans_of(chosen).items():
        own = plan.trained_by()
        found[method] = next((name for other, name in seen if other == own), method)
        seen.append((own, method))
    return found


def cells(grid: Grid, chosen: Line) -> Iterator[tuple[str, int]]:
    """Methods and seeds that are to be trained, each plan once."""
    for seed in grid.seeds:
        for method in dict.fromkeys(trained_as(chosen).values()):
            yield method, seed


def by_method(grid: Grid, chosen: Line) -> dict[str, list[Line]]:
    """Method → its trainings by seed, those of its equal; methods whose seeds are complete.

    One that diverged answers nothing: 0.
    """
    own = TRAINED.find(**{key: chosen[key] for key in DRAW})
    lines = {(line["method"], line["seed"]): LOST | line for line in own}
    found = {}
    for method, same in trained_as(chosen).items():
        of_method = [lines[same, seed] for seed in grid.seeds if (same, seed) in lines]
        if len(of_method) == len(grid.seeds):
            found[method] = of_method
    return found


def run_training(grid: Grid, chosen: Line, method: str, seed: int) -> None:
    """Train one cell, unless it is there, and keep its line."""
    columns = {key: chosen[key] for key in DRAW} | {"method": method, "seed": seed}
    if TRAINED.find(**columns):
        return
    params, encoder = params_of(grid.name), encoder_of(grid.encoder)
    parts, plan = parts_of(grid.name, chosen["task"], chosen["draw"]), plans_of(chosen)[method]
    TRAINED.add(columns | train_cell(encoder, parts, plan, seed, params.train, params.head))
