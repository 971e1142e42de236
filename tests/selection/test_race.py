"""Rule race: the plan is the pilot's arm, with its rate and size."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest

from fishpal.common.errors import FishpalWarning, ParamsError, PlanError
from fishpal.common.kinds import ModuleKind
from fishpal.common.validate import decode
from fishpal.params.methods import HeadOnly, Race, Uniform
from fishpal.params.module_options import LoraOptions, ModuleOptions
from fishpal.params.options import RateOptions, SelectOptions
from fishpal.params.race_options import RaceOptions
from fishpal.records.pilot import Arm, Pilot
from fishpal.records.plan import Plan
from fishpal.records.results import CurvePoint
from fishpal.selection.arms import pilot_plans
from fishpal.selection.methods import select_plan
from tests.selection.test_selection import make_grams, make_table

A, L = ModuleKind.ADAPTER, ModuleKind.LORA
RACE = Race()
RATES = RateOptions(prefix=0.1, adapter=0.003, lora=0.004)


def arm(kind, loss, **named):
    return Arm(kind, 1e-3, (CurvePoint(32, 1.0, 0.6, 2.0, loss, True),), **named)


def raced(*arms, method=RACE):
    pilot = Pilot(64, "pilot", 0.7, arms)
    return select_plan(make_table(), None, "race", method, SelectOptions(), RATES, pilot)


def test_the_plan_has_the_winners_rate():
    plan = raced(arm(A, 0.5), arm(L, 0.6), arm(L, 0.4, factor=3.0))
    assert set(plan.layers) == {L} and plan.updates == 64
    assert plan.learning_rate.lora == pytest.approx(0.012)
    assert plan.learning_rate.adapter == 0.003
    assert plan.reason.note == "lora at 3 times its own rate"
    assert plan.modules == make_table().modules


def saved(plan):
    """What a file gives back of it."""
    return decode(Plan, json.loads(json.dumps(plan.to_json())), "a file").to_json()


@pytest.mark.parametrize("asked", [{"compress": 0.25}, {"margin": 0.02}])
def test_the_plan_says_how_it_is_compressed(asked):
    arms = (arm(A, 0.5), arm(L, 0.6))
    plan, other = raced(*arms, method=Race(**asked)), raced(*arms)
    assert asked.items() <= plan.to_json().items() and plan.compresses
    assert plan.whole() == other and plan.to_json() == saved(plan)
    assert not {"compress", "margin"} & other.to_json().keys() and not other.compresses
    assert plan.trained_by() != other.trained_by()


def test_an_arm_that_nobody_measured_is_named():
    """As a file from elsewhere can have."""
    with pytest.raises(PlanError, match="pilot's arm is 'lora-16'.*allowed: .*lora.*as measured"):
        raced(arm("lora-16", 0.4))


def test_a_rate_of_the_methods_own_is_no_multiple_of_it():
    pilot = Pilot(64, "pilot", 0.7, (arm(L, 0.4, factor=3.0),))
    method, options = Race(learning_rate=0.01), SelectOptions()
    plan = select_plan(make_table(), None, "race", method, options, RATES, pilot)
    assert plan.learning_rate.lora == 0.01


def test_of_the_head_alone_it_is_the_heads():
    pilot = Pilot(64, "updates", 0.7)
    method = HeadOnly(learning_rate=0.5)
    plan = select_plan(make_table(), None, "head", method, SelectOptions(), RATES, pilot)
    assert plan.learning_rate.head == 0.5


def test_the_arms_of_several_rates():
    plans = pilot_plans(make_table(), None, RATES, RaceOptions(rates=(0.5, 1.0, 1e9)))
    found = [(p.kinds, getattr(p.learning_rate, p.kinds[0])) for p in plans]
    kinds, table = make_table().kinds, {k: getattr(RATES, k) for k in make_table().kinds}
    wanted = [(k, table[k] * f if f < 2 else 100.0) for k in kinds for f in (1.0, 0.5, 1e9)]
    assert [kind for (kind,), _ in found] == [kind for kind, _ in wanted]
    assert [rate for _, rate in found] == pytest.approx([rate for _, rate in wanted])


def test_the_plans_of_criteria_race_where_they_are_mixes():
    """Each mix once, and none that is one kind everywhere."""
    table = make_table(seed=2)
    race = RaceOptions(criteria=("mean", "trace", "parameters", "snr"))
    with pytest.warns(FishpalWarning) as seen:
        plans = pilot_plans(table, None, RATES, race)
    assert [plan.layers for plan in plans[:3]] == [(kind,) * 4 for kind in table.kinds]
    assert [plan.reason.criterion for plan in plans[3:]] == ["mean", "snr"]
    means = [[table.row(layer, kind).mean for kind in table.kinds] for layer in range(4)]
    best = tuple(table.kinds[i] for i in np.argmax(means, axis=1))
    assert plans[3].layers == best and len(set(best)) > 1
    for plan in plans[3:]:
        assert [plan.rate(kind, 0) for kind in table.kinds] == [0.1, 0.003, 0.004]
    said = [str(warning.message).partition(" has no arm: ")[2] for warning in seen]
    assert said == [
        "it picks what another criterion does",
        "it picks adapter at every layer, which races anyway",
    ]


def test_no_mix_of_noise_races():
    table, grams, rng = make_table(), make_grams(), np.random.default_rng(0)
    noise = {(row.layer, row.kind): rng.normal(size=18) for row in table.rows}
    clear = {key: values + 9 for key, values in noise.items()}
    race = RaceOptions(criteria=("mean",))
    with pytest.warns(FishpalWarning, match="mean has no arm: the halves' gradients do not agree"):
        assert len(pilot_plans(table, replace(grams, projections=noise), RATES, race)) == 3
    assert len(pilot_plans(table, replace(grams, projections=clear), RATES, race)) == 4


def test_the_plan_is_the_mix_that_won():
    mix = (A, L, L, A)
    plan = raced(arm(L, 0.4), arm("snr", 0.3, layers=mix))
    assert (plan.layers, plan.reason.note) == (mix, "the plan of snr")
    assert plan.learning_rate.lora == RATES.lora
    led_back = raced(arm("snr", 0.3, layers=mix, factor=1 / 3))
    assert led_back.reason.note == "the plan of snr at 0.333 times its own rate"
    for kind in (A, L):
        own = getattr(RATES, kind) / 3
        assert getattr(led_back.learning_rate, kind) == pytest.approx(own, rel=1e-6)


@pytest.mark.parametrize("rslora", [False, True])
def test_another_size_keeps_loras_scale(rslora):
    modules = ModuleOptions(lora=LoraOptions(rslora=rslora))
    assert modules.resized(A, 12).adapter.bottleneck == 12
    small, own = modules.resized(L, 2).lora, modules.lora
    scales = [each.alpha / each.rank ** (0.5 if rslora else 1) for each in (small, own)]
    assert small.rank == 2 and scales[0] == pytest.approx(scales[1])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rates", (3.0,)),
        ("rates", (1.0, 1.0)),
        ("criteria", ("snr", "snr")),
        ("rates", (1, -1)),
    ],
)
def test_bad_races_are_refused(field, value):
    with pytest.raises(ParamsError, match=field):
        RaceOptions(**{field: value})


def test_a_plan_beyond_what_is_set_is_warned_of():
    """The race knows neither budget nor top layers: one warning says which rules do."""
    pilot = Pilot(64, "pilot", 0.7, (arm(L, 0.4),))

    def plan_of(method=RACE, **options):
        options = SelectOptions(**options)
        return select_plan(make_table(), None, "x", method, options, RATES, pilot)

    kept, all_ = plan_of().kept, make_table().encoder.parameters
    alone = ": rules criterion and random alone keep to these"
    above = f"keeps {kept} parameters, above select.budget ({kept - 1})"
    below = "has modules below the top 3 (select.top_layers)"
    tight, wide = ((kept + more) / all_ for more in (-0.5, 0.5))
    for options, said in (
        ({"budget": tight}, above),
        ({"top_layers": 3}, below),
        ({"budget": tight, "top_layers": 3}, f"{above} and {below}"),
    ):
        with pytest.warns(FishpalWarning) as seen:
            assert plan_of(**options) == plan_of()
        task = make_table().task
        assert [str(w.message) for w in seen] == [f"{task}: the plan of rule race {said}{alone}"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plan_of(budget=wide, top_layers=4)
        plan_of(Uniform(kind=L), budget=tight, top_layers=3)
