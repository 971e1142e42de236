"""The arms of the pilot (`fishpal.training.pilot`)."""

from collections.abc import Iterator
from dataclasses import replace

from fishpal.common.choices import Choices
from fishpal.common.errors import caution
from fishpal.common.kinds import ModuleKind
from fishpal.params.options import RateOptions, SelectOptions
from fishpal.params.race_options import RaceOptions
from fishpal.records.fisher_table import FisherTable
from fishpal.records.grams import Grams
from fishpal.records.plan import Plan, Reason
from fishpal.selection.rates import Rates, resolve_rates
from fishpal.selection.scored import by_criterion, space_of, unless_noise


def pilot_plans(
    table: FisherTable, grams: Grams, rates: RateOptions, race: RaceOptions | None = None
) -> list[Plan]:
    """Each candidate at every layer, at multiples of its rate of a short training; then mixes.

    Its own rate comes first of a candidate's arms; no rate is above `MAX_RATE`. Here, once a task,
    it is warned of a rate whose formula was fitted elsewhere, and of a criterion without an arm.
    """
    race = race or RaceOptions()
    from_text = ModuleKind.PREFIX in table.kinds and table.modules.prefix.start == "text"
    if from_text and rates.prefix == "auto":
        fitted = "fitted on prefixes that start at random, and modules.prefix.start is text"
        caution(f"train.learning_rate.prefix is auto: {fitted}; train.race.rates tries others")
    resolved = resolve_rates(rates, table, grams, None)
    first = sorted(race.rates, key=lambda factor: factor != 1)
    raced: list[tuple[Choices, Reason, Rates]] = [
        ((word,) * table.encoder.layers, Reason("uniform"), resolved.times(word, factor))
        for word in map(str, table.candidates)
        for factor in first
    ]
    raced += [(*mix, resolved) for mix in _mixes(table, grams, resolved, race)]
    return [
        Plan(
            task=table.task,
            method="pilot",
            encoder=table.encoder,
            layers=layers,
            reason=reason,
            modules=table.modules.chosen(),
            learning_rate=found.rates,
            rates=found.sized,
        )
        for layers, reason, found in raced
    ]


def _mixes(
    table: FisherTable, grams: Grams, rates: Rates, race: RaceOptions
) -> Iterator[tuple[Choices, Reason]]:
    """What the criteria pick, each plan once; none that noise picked, or that races anyway."""
    seen: set[Choices] = set()
    for criterion in race.criteria:
        options = SelectOptions(criterion=criterion)
        space = space_of(table, options)
        choices, reason = by_criterion(table, grams, options, rates, space)
        picked, reason = unless_noise(choices, reason, grams, table, options.fallback, space)
        why = reason.note
        if why is None and len(set(picked)) == 1:
            why = f"it picks {picked[0]} at every layer, which races anyway"
        if why is None and picked in seen:
            why = "it picks what another criterion does"
        if why is None:
            seen.add(picked)
            yield picked, replace(Reason("criterion"), criterion=criterion)
        else:
            caution(f"train.race.criteria: {criterion} has no arm: {why}")
