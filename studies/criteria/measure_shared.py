"""Stage: what weights that all plans share, trained once, say of plans."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from tqdm import tqdm

from fishpal.params.load import Params
from stages.runner import run
from studies.criteria.design.names import Columns, word
from studies.criteria.design.placements import budget_plans
from studies.criteria.design.plans import KINDS, Layers, fixed_plans
from studies.criteria.design.settings import Settings, Way, load_settings
from studies.criteria.trainings.inputs import load_data, module_costs, prepare, study_encoder
from studies.criteria.trainings.keys import given, key_of
from studies.criteria.trainings.provenance import provenance
from studies.criteria.trainings.shared import shared_scores
from studies.criteria.trainings.store import Wanted, gather, keep, missing


@dataclass(frozen=True)
class Job:
    """One training of shared weights."""

    columns: Columns
    way: Way

    def key(self, params: Params, settings: Settings, plans: list[Layers]) -> str:
        """Hash of all that decides its line, the code and the seed apart."""
        encoder = study_encoder()
        parts = {
            "protocol": settings.study.protocol,
            "data": load_data(self.columns["task"], self.columns["size"]).sha256,
            "encoder": encoder.sha256,
            "pooling": encoder.pooling,
            "modules": {kind: given(getattr(params.modules, kind)) for kind in KINDS},
            "head": given(params.head),
            "fisher": given(params.fisher),
            "train": given(params.train),
            "way": asdict(self.way),
            "plans": [word(plan) for plan in plans],
        }
        return key_of(parts)


def all_jobs(params: Params, settings: Settings) -> Iterator[Job]:
    """Every task, way and seed, at the first size."""
    size = settings.study.sizes[0]
    for seed in settings.shared.seeds:
        for task in params.grid.tasks:
            for way in settings.shared.ways:
                mode = "one_shot" if way.one_shot else "joint"
                columns = {"task": task, "size": size, "updates": way.updates, "mode": mode}
                yield Job(columns | {"seed": seed}, way)


def plans_of(params: Params, settings: Settings) -> list[Layers]:
    """The fixed plans, and those under a budget that keep the usual sizes."""
    layers = study_encoder().facts.layers
    fixed = fixed_plans(settings.study, layers)
    budget = budget_plans(settings.budget, params.modules, module_costs(), layers)
    every = [*fixed, *(plan for plan in budget if plan.modules is None)]
    return list(dict.fromkeys(plan.layers for plan in every))


def scored(params: Params, job: Job, plans: list[Layers]) -> dict[str, Any]:
    """A line of the store."""
    start = time.process_time()
    data = load_data(job.columns["task"], job.columns["size"])
    scores = shared_scores(params, data, job.way, job.columns["seed"], plans)
    seconds = round(time.process_time() - start, 1)
    return {"plans": [word(plan) for plan in plans], "scores": scores, "seconds": seconds}


def main(params: Params) -> None:
    settings = load_settings()
    prepare(params, params.grid.tasks)
    plans = plans_of(params, settings)
    jobs = {
        Wanted(job.columns, job.key(params, settings, plans)): job
        for job in all_jobs(params, settings)
    }
    for each in tqdm(missing("shared", list(jobs)), "shared", disable=None):
        keep("shared", each, scored(params, jobs[each], plans) | provenance("shared"))
    gather({"shared": list(jobs)})


if __name__ == "__main__":
    run(main)
