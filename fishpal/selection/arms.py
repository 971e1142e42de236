"""The arms of the pilot (`fishpal.training.pilot`)."""

from collections.abc import Sequence
from dataclasses import replace

from fishpal.common.checks import MAX_RATE
from fishpal.common.files import rounded
from fishpal.params.options import RateOptions
from fishpal.records.fisher_table import FisherTable
from fishpal.records.grams import Grams
from fishpal.records.plan import Plan, Reason
from fishpal.selection.rates import REFERENCE, resolve_rates


def pilot_plans(
    table: FisherTable, grams: Grams, rates: RateOptions, factors: Sequence[float] = (1.0,)
) -> list[Plan]:
    """Each kind at every layer, at multiples of its rate of a short training.

    A kind's own rate comes first of its arms; no rate is above `MAX_RATE`.
    """
    resolved = resolve_rates(rates, table, grams, REFERENCE).rates
    first = sorted(factors, key=lambda factor: factor != 1)
    return [
        Plan(
            task=table.task,
            method="pilot",
            encoder=table.encoder,
            layers=(kind,) * table.encoder.layers,
            reason=Reason("uniform"),
            modules=table.modules,
            learning_rate=replace(
                resolved, **{kind: rounded(min(MAX_RATE, factor * getattr(resolved, kind)))}
            ),
        )
        for kind in table.kinds
        for factor in first
    ]
