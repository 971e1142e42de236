"""Stage: the plans that `select.criterion` picks out of all plans, for every task."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fishpal.params.load import Params
from fishpal.params.options import SelectOptions
from stages.runner import run
from studies.criteria.design.placements import kept
from studies.criteria.design.settings import Chosen, Settings, load_settings
from studies.criteria.trainings.inputs import module_costs, prepare, study_encoder
from studies.criteria.trainings.keys import given, key_of
from studies.criteria.trainings.measure import choose, measure, measured_parts
from studies.criteria.trainings.provenance import provenance
from studies.criteria.trainings.store import Wanted, gather, keep, missing

GROUP = "selected"


def limits(way: Chosen, params: Params, settings: Settings) -> SelectOptions:
    """params.yaml's options with one way's limits."""
    options = replace(params.select, top_layers=way.top_layers)
    if way.share is None:
        return options
    facts = study_encoder().facts
    # half a parameter more: the limit is rounded down again
    limit = kept(settings.budget, way.share, module_costs(), facts.layers) + 0.5
    return replace(options, allow_none=True, budget=limit / facts.parameters)


def main(params: Params) -> None:
    settings = load_settings()
    prepare(params, params.grid.tasks)
    size, wanted = settings.study.sizes[0], list[Wanted]()
    for task in params.grid.tasks:
        parts = {"protocol": settings.study.protocol} | measured_parts(params, task, size)
        ways: list[tuple[Wanted, SelectOptions]] = []
        for way in settings.chosen:
            options = limits(way, params, settings)
            columns: dict[str, Any] = {"task": task, "size": size} | way.columns
            ways.append((Wanted(columns, key_of(parts | {"select": given(options)})), options))
        wanted += [each for each, _ in ways]
        todo = missing(GROUP, [each for each, _ in ways])
        if todo:
            table, grams = measure(params, task, size)
            for each, options in ways:
                if each in todo:
                    layers = choose(table, grams, params, options)
                    found = {"criterion": options.criterion, "layers": list(layers)}
                    keep(GROUP, each, found | provenance(GROUP))
    gather({GROUP: wanted})


if __name__ == "__main__":
    run(main)
