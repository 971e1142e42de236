"""The arms of the pilot (`fishpal.training.pilot`)."""

from collections.abc import Sequence

from fishpal.common.errors import caution
from fishpal.common.kinds import ModuleKind
from fishpal.params.options import RateOptions
from fishpal.records.fisher_table import FisherTable
from fishpal.records.grams import Grams
from fishpal.records.plan import Plan, Reason
from fishpal.selection.rates import REFERENCE, resolve_rates


def pilot_plans(
    table: FisherTable, grams: Grams, rates: RateOptions, factors: Sequence[float] = (1.0,)
) -> list[Plan]:
    """Each candidate at every layer, at multiples of its rate of a short training.

    Its own rate comes first of its arms; no rate is above `MAX_RATE`. Here, once a task, it is
    warned of a rate whose formula was fitted elsewhere.
    """
    from_text = ModuleKind.PREFIX in table.kinds and table.modules.prefix.start == "text"
    if from_text and rates.prefix == "auto":
        fitted = "fitted on prefixes that start at random, and modules.prefix.start is text"
        caution(f"train.learning_rate.prefix is auto: {fitted}; train.race.rates tries others")
    resolved = resolve_rates(rates, table, grams, REFERENCE)
    first = sorted(factors, key=lambda factor: factor != 1)
    raced = [(m, resolved.times(str(m), f)) for m in table.candidates for f in first]
    return [
        Plan(
            task=table.task,
            method="pilot",
            encoder=table.encoder,
            layers=(str(module),) * table.encoder.layers,
            reason=Reason("uniform"),
            modules=table.modules.chosen(),
            learning_rate=found.rates,
            rates=found.sized,
        )
        for module, found in raced
    ]
