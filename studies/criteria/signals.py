"""Stage: every candidate's Fisher statistics and kernels under each configuration of one task."""

from __future__ import annotations

from dataclasses import replace

from fishpal.config import Params
from fishpal.encoder import load_encoder
from fishpal.errors import FishpalError, one_of
from fishpal.fisher import measure_fisher
from fishpal.head import start_head
from fishpal.kinds import Estimator, FisherMode, HeadInit
from fishpal.pooling import load_pooling
from stages.runner import ARTIFACTS, run, seconds_to
from studies.criteria.cells import load_data

BASE = "n256_s0"
"""256 examples, seed 0, isolated, empirical, random head: what the others vary."""


def configurations(params: Params) -> dict[str, Params]:
    """Name → params that differ from `BASE`'s in one thing."""
    base = replace(params, fisher=replace(params.fisher, examples=256, seed=0))
    prefix = params.modules.prefix
    found = {
        f"n{n}_s{seed}": replace(base, fisher=replace(base.fisher, examples=n, seed=seed))
        for n in (16, 64, 256)
        for seed in (0, 1, 2)
    }
    found["probe"] = replace(base, head=replace(base.head, init=HeadInit.PROBE))
    found["joint"] = replace(base, fisher=replace(base.fisher, mode=FisherMode.JOINT))
    found["exact"] = replace(base, fisher=replace(base.fisher, estimator=Estimator.EXACT))
    found["dropout"] = replace(base, fisher=replace(base.fisher, dropout=True))
    changes = {"mlp": {"reparameterize": True}, "std_0p2": {"std": 0.2}, "std_2": {"std": 2.0}}
    for name, change in changes.items():
        modules = replace(base.modules, prefix=replace(prefix, **change))
        found[f"prefix_{name}"] = replace(base, modules=modules)
    return found


def main(params: Params, task: str, size: str, name: str) -> None:
    params.task(task)
    known = configurations(params)
    if name not in known:
        raise FishpalError(one_of("configuration", name, known))
    chosen, target = known[name], ARTIFACTS / "signals" / task / size / f"{name}.json"
    data = load_data(task, int(size))
    with seconds_to(ARTIFACTS / "seconds" / "signals" / task / size / f"{name}.json"):
        encoder = load_encoder(ARTIFACTS / "encoder")
        pooling = load_pooling(ARTIFACTS / "encoder")
        head = start_head(encoder, pooling, data.facts, data.fit, chosen.head)
        table, grams = measure_fisher(
            encoder,
            head,
            data.fit,
            data.facts,
            chosen.modules,
            chosen.fisher,
            pooling=pooling,
            head_options=chosen.head,
        )
        table.save(target)
        grams.save(target.with_suffix(".safetensors"))


if __name__ == "__main__":
    run(main, "task", "size", "configuration")
