"""Trained models of a grid made smaller, and their rivals, kept line by line."""

from collections.abc import Iterator
from dataclasses import replace

from fishpal.api.compress import compress
from fishpal.api.encoder import TextEncoder
from fishpal.api.model import Model
from fishpal.api.steps import fit
from fishpal.params.load import Params
from fishpal.training.compress import last_quarter
from fishpal.training.train import train
from studies.cells.store import Line, Store
from studies.cells.trainings import outcome
from studies.draws.settings import ROOM, Compressed, load_settings, params_of
from studies.draws.trainings import CHOSEN, DRAW, encoder_of, parts_of, plans_of

COMPRESSED = Store(ROOM / "results" / "compressed.jsonl")
WHOLE, MARGIN, AGAIN, SCRATCH = "whole", "margin", "again", "scratch"
"""As trained; compressed within the margin; trained on as it is; trained small from the start."""


def run_compressed(settings: Compressed, part: int, parts: int) -> None:
    """What is missing of every n-th draw."""
    encoder = encoder_of(load_settings().grid(settings.grid).encoder)
    params = params_of(settings.grid)
    for chosen in CHOSEN.find(grid=settings.grid)[part::parts]:
        for kind in settings.kinds:
            columns = {key: chosen[key] for key in DRAW} | {"kind": kind}
            if not COMPRESSED.find(**columns):
                for line in list(_lines(settings, params, encoder, chosen, kind)):  # all or none
                    COMPRESSED.add(columns | line)


def _lines(
    settings: Compressed, params: Params, encoder: TextEncoder, chosen: Line, kind: str
) -> Iterator[Line]:
    """A variant each."""
    task, other = parts_of(settings.grid, chosen["task"], chosen["draw"])
    plan, options = plans_of(chosen)[kind], params.train
    whole = fit(encoder, task, plan, 0, options, params.head)

    def line(variant: str, model: Model) -> Line:
        assert model.training is not None
        counts = model.module.parameter_counts()
        head = sum(parameter.numel() for parameter in model.module.head.parameters())
        own = {"variant": variant, "modules": counts.kept - head, "kept": counts.kept}
        return own | outcome(encoder, task, other, model.module, model.training)

    smaller = [compress(whole, task, share, options=options) for share in settings.shares]
    for share, model in zip(settings.shares, smaller, strict=True):
        yield line(f"{share:g}", model)
    yield line(MARGIN, compress(whole, task, margin=settings.margin, options=options))
    again, tokens = whole.copy(), task.tokenised(encoder)
    quarter = last_quarter(plan, tokens, options)
    train(again.module, quarter, tokens, options, 0, progress=False)
    yield line(AGAIN, again)
    longer = (plan.updates or 0) + (quarter.updates or 0)
    small = replace(smaller[0].plan, updates=longer)
    yield line(SCRATCH, fit(encoder, task, small, 0, options, params.head))
    yield line(WHOLE, whole)
