"""Several sizes of a kind: measured at once, chosen from, raced."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from fishpal.common.choices import Module, modules_of
from fishpal.common.errors import FishpalWarning, ParamsError, PlanError
from fishpal.common.kinds import FisherMode, ModuleKind
from fishpal.fisher import engine
from fishpal.fisher.engine import measure_fisher
from fishpal.fisher.measuring import Measuring
from fishpal.models.head import start_head
from fishpal.params.methods import ByCriterion, Race, Uniform
from fishpal.params.module_options import LoraOptions
from fishpal.params.options import FisherOptions, HeadOptions, RateOptions, SelectOptions
from fishpal.records.fisher_table import FisherTable
from fishpal.records.grams import Grams
from fishpal.records.pilot import Arm, Pilot
from fishpal.records.results import CurvePoint
from fishpal.records.task import TokenisedTask
from fishpal.selection.arms import pilot_plans
from fishpal.selection.methods import select_plan
from tests.conftest import random_examples, task_facts
from tests.modules.test_modules import SMALL

P, A, L = ModuleKind.PREFIX, ModuleKind.ADAPTER, ModuleKind.LORA
OPTIONS = FisherOptions(kinds=(P, A, L), examples=8, batch_size=4, device="cpu")
SEVERAL = replace(
    SMALL,
    prefix=replace(SMALL.prefix, lengths=(3, 1)),
    adapter=replace(SMALL.adapter, bottlenecks=(5, 2)),
    lora=replace(SMALL.lora, ranks=(1, 2, 4)),
)
WORDS = ("prefix-3", "prefix-1", "adapter-5", "adapter-2", "lora-1", "lora-2", "lora-4")
PILOT = Pilot(125, "updates", 0.7)


def measured(tiny_encoder, modules, options=OPTIONS):
    encoder, task = tiny_encoder(double=True), TokenisedTask(task_facts(), random_examples(8))
    head = start_head(encoder, task, HeadOptions()).double()
    return measure_fisher(encoder, head, task, modules, options, progress=False)


def test_sizes_share_passes_and_disturb_nobody(tiny_encoder, tmp_path, monkeypatch):
    """All that start as the identity share one; every length of a prefix takes one of its own."""
    passes = []

    def counted(measuring, groups, progress):
        passes.append([{str(Module(m.kind, m.size)) for m in group} for group in groups])
        return original(measuring, groups, progress)

    original = Measuring.groups
    monkeypatch.setattr(engine.Measuring, "groups", counted)
    table, grams = measured(tiny_encoder, SEVERAL)
    assert sorted(map(len, passes[0])) == [1, 1, 5] and set(WORDS[2:]) in passes[0]
    assert table.candidates == tuple(m for word in WORDS for m in modules_of(word))
    for length, bottleneck, rank in ((3, 5, 1), (1, 2, 4)):
        alone = replace(
            SMALL,
            prefix=replace(SMALL.prefix, length=length),
            adapter=replace(SMALL.adapter, bottleneck=bottleneck),
            lora=replace(SMALL.lora, rank=rank),
        )
        single, kernels = measured(tiny_encoder, alone)
        for kind, size in ((P, length), (A, bottleneck), (L, rank)):
            word = f"{kind}-{size}"
            for layer in range(3):
                row, other = table.row(layer, word), single.row(layer, kind)
                assert replace(row, size=None) == other
                np.testing.assert_allclose(
                    grams.kernels[layer, word], kernels.kernels[layer, kind], rtol=1e-6
                )
    table.save(tmp_path / "table.json")
    grams.save(tmp_path / "grams.safetensors")
    assert FisherTable.load(tmp_path / "table.json") == table
    again = Grams.load(tmp_path / "grams.safetensors")
    assert set(again.kernels) == set(grams.kernels) == {row.key for row in table.rows}


@pytest.mark.parametrize("kinds", [(P, A, L), (A, L, P), (L, P, A), (P,)])
def test_logits_are_those_of_the_start_whatever_is_measured_last(tiny_encoder, kinds):
    strong = replace(SMALL, prefix=replace(SMALL.prefix, std=1.0))
    _, grams = measured(tiny_encoder, strong, replace(OPTIONS, kinds=kinds))
    _, plain = measured(tiny_encoder, strong, replace(OPTIONS, kinds=(A,)))
    np.testing.assert_allclose(grams.logits, plain.logits, atol=1e-6)
    np.testing.assert_allclose(grams.head, plain.head, atol=1e-6)


def test_kernels_of_every_size_count(tiny_encoder, monkeypatch):
    single = 4 * 8**2 * 3  # bytes of 8 examples' kernels at 3 layers, two classes
    monkeypatch.setattr(engine, "MOST_KERNELS", 4 * single)
    several = replace(SMALL, lora=replace(SMALL.lora, ranks=(1, 2, 4)))
    for kinds, kept in (((A, L), True), ((P, A, L), False)):
        if kept:
            _, grams = measured(tiny_encoder, several, replace(OPTIONS, kinds=kinds))
        else:
            with pytest.warns(FishpalWarning, match=r"fisher.gram: kernels of 8 examples and 2"):
                _, grams = measured(tiny_encoder, several, replace(OPTIONS, kinds=kinds))
        assert bool(grams.kernels) == kept


def test_sizes_are_chosen_raced_and_rated(tiny_encoder):
    table, grams = measured(tiny_encoder, SEVERAL)
    options = SelectOptions(criterion="parameters", per_layer=3, fallback=None)

    def choose(method, options=options, pilot=PILOT):
        return select_plan(table, grams, "m", method, options, RateOptions(), pilot)

    everything = choose(ByCriterion())
    assert everything.layers == ("prefix-3+adapter-5+lora-4",) * 3, "one size of a kind"
    assert set(everything.rates) == set(WORDS) and everything.kept == sum(
        row.parameters for row in table.rows if row.key[1] in ("prefix-3", "adapter-5", "lora-4")
    )
    written = everything.to_json()
    assert (
        set(written["rates"]) == {"prefix-3", "adapter-5", "lora-4"} == set(everything.reason.rates)
    )
    assert set(written["learning_rate"]) == {"head"} and "ranks" not in written["modules"]["lora"]
    budget = 3 * table.row(0, "lora-2").parameters / table.encoder.parameters
    small = choose(ByCriterion(), replace(options, per_layer=1, budget=budget * 1.0001))
    assert small.kept <= budget * 1.0001 * table.encoder.parameters
    assert choose(Uniform(kind=L)).layers == ("lora-2",) * 3, "the configured one"
    assert choose(Uniform(kind=L, size=4)).layers == ("lora-4",) * 3
    with pytest.raises(PlanError, match="size is 3; allowed for lora: 1, 2, 4, as in the Fisher"):
        choose(Uniform(kind=L, size=3))
    arms = pilot_plans(table, grams, RateOptions())
    assert [plan.layers for plan in arms] == [(word,) * 3 for word in WORDS]
    assert [plan.rate(plan.kinds[0], 0) for plan in arms] == [arms[0].rates[word] for word in WORDS]
    curve = (CurvePoint(0, 0, None, 0.5, 0.5, True),)
    curves = [Arm(word, 0.1, curve) for word in ("lora-4", "prefix-1")]
    assert choose(Race(), pilot=replace(PILOT, arms=tuple(curves))).layers == ("lora-4",) * 3


def test_a_rate_that_was_fitted_on_another_start_is_warned_about_once(tiny_encoder):
    """Where the arms are made; not by every method's plan, nor where the rate is a number."""
    from_text = replace(SMALL, prefix=replace(SMALL.prefix, start="text"))
    table, grams = measured(tiny_encoder, from_text)
    with pytest.warns(FishpalWarning, match="prefix is auto: fitted on prefixes that start at ran"):
        plans = pilot_plans(table, grams, RateOptions())
    assert {plan.modules.prefix.start for plan in plans} == {"text"}
    plain, others = measured(tiny_encoder, SMALL)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pilot_plans(table, grams, RateOptions(prefix=0.1))
        pilot_plans(plain, others, RateOptions())
        method, options = Uniform(kind=P), SelectOptions()
        plan = select_plan(table, grams, "m", method, options, RateOptions(), PILOT)
    assert plan.modules.prefix.start == "text" and plan.to_json()["modules"]["prefix"]["start"]


def test_sizes_that_cannot_be_are_errors(tiny_encoder):
    with pytest.raises(ParamsError, match=r"ranks is \[2, 32\]; allowed: each once, and rank .8."):
        LoraOptions(ranks=(2, 32))
    with pytest.raises(ParamsError, match="lengths is .* allowed: null where fisher.mode is joint"):
        measured(tiny_encoder, SEVERAL, replace(OPTIONS, mode=FisherMode.JOINT))
