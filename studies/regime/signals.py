"""What every criterion says of the plans before they are trained."""

from fishpal.api.steps import measure
from fishpal.params.options import FisherOptions, LearningRates
from studies.cells.sources import project_encoder
from studies.cells.store import Line, Store
from studies.criteria.trainings.scores import scorers, totals
from studies.regime.plans import whole_plans
from studies.regime.settings import ROOM, Settings
from studies.regime.trainings import task_of, training

MEASURED = Store(ROOM / "results" / "measured.jsonl")


def measured(settings: Settings, task: str, rates: LearningRates) -> Line:
    """Scores of all plans of full size, measured now or before."""
    if not MEASURED.find(task=task):
        (rows, _), encoder = task_of(task), project_encoder()
        options = FisherOptions(device="cpu")
        found = measure(encoder, rows, options, training=training(settings))
        whole = whole_plans(settings, encoder.facts.layers)
        plans = {name: layers for name, layers in whole.items() if any(layers)}
        named = scorers(found.table, found.grams, rates).items()
        scores = {name: totals(scorer, [*plans.values()]) for name, scorer in named}
        MEASURED.add({"task": task, "plans": list(plans), "scores": scores})
    return MEASURED.find(task=task)[0]
