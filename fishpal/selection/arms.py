"""The arms of the pilot (`fishpal.training.pilot`)."""

from fishpal.params.options import RateOptions
from fishpal.records.fisher_table import FisherTable
from fishpal.records.grams import Grams
from fishpal.records.plan import Plan, Reason
from fishpal.selection.rates import REFERENCE, resolve_rates


def pilot_plans(table: FisherTable, grams: Grams, rates: RateOptions) -> list[Plan]:
    """The arms of the pilot: each candidate at every layer, at its rate of a short training."""
    resolved = resolve_rates(rates, table, grams, REFERENCE)
    return [
        Plan(
            task=table.task,
            method="pilot",
            encoder=table.encoder,
            layers=(str(module),) * table.encoder.layers,
            reason=Reason("uniform"),
            modules=table.modules.chosen(),
            learning_rate=resolved.rates,
            rates=resolved.sized,
        )
        for module in table.candidates
    ]
