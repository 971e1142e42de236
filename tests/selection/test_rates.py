"""Rates from projections, and the test for noise, against plain loops."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from fishpal.common.errors import PlanError
from fishpal.common.kinds import CriterionName, ModuleKind
from fishpal.fisher.engine import measure_fisher
from fishpal.fisher.sample import draw_sample
from fishpal.models.batching import collate
from fishpal.models.classifier import Classifier
from fishpal.models.head import start_head
from fishpal.modules.attach import build_module
from fishpal.params.methods import ByCriterion
from fishpal.params.options import FisherOptions, HeadOptions, RateOptions, SelectOptions
from fishpal.records.grams import Grams
from fishpal.records.pilot import Pilot
from fishpal.records.task import TokenisedTask
from fishpal.selection.methods import select_plan
from fishpal.selection.rates import (
    FURTHEST,
    LAWS,
    REFERENCE,
    UNITS,
    best_step,
    explain_rate,
    resolve_rates,
)
from fishpal.selection.reliability import NOISE, SPREAD, reliability, z_score
from tests.conftest import random_examples, task_facts
from tests.modules.test_modules import SMALL
from tests.selection.test_selection import make_table

P, A, L, BIAS, IA3 = ModuleKind


def log_likelihood(logits, label):
    if isinstance(label, float):
        return -0.5 * (label - logits[0]) ** 2
    return logits.log_softmax(-1)[label]


def looped(encoder, task, options, kind, layer):
    """Projections by one backward pass an example, of a candidate and of the head, float64.

    The head's are those of the start, without any module.
    """
    sample = draw_sample(task, options)
    model = Classifier(encoder, start_head(encoder, task, HeadOptions()).double())
    modules = [  # at every layer, since a prefix changes what the others see from the start on
        build_module(kind, number, shape, SMALL, options.seed).double()
        for number, shape in enumerate(encoder.shapes)
    ]
    module = modules[layer]
    model.eval().requires_grad_(False)
    model.attach(modules)
    module.requires_grad_()
    model.head.requires_grad_()

    def rows(owner):
        for example in sample.examples:
            batch = collate([example], task.facts.pad_id)
            batch.pop("labels")
            value = log_likelihood(model(**batch)[0], example.label)
            found = torch.autograd.grad(value, list(owner.parameters()))
            yield torch.cat([gradient.flatten() for gradient in found])

    of_module = torch.stack([*rows(module)])
    model.detach()
    expected = []
    for gradients in (of_module, torch.stack([*rows(model.head)])):
        across, half = [], sample.half
        for number, gradient in enumerate(gradients):
            across.append(gradient @ gradients[half != half[number]].mean(0).sign())
        expected.append(torch.stack(across).numpy())
    return expected


@pytest.mark.parametrize("gram", [True, False])
@pytest.mark.parametrize(("classes", "kind"), [(1, A), (2, P), (3, L), (2, BIAS), (2, IA3)])
def test_projections_equal_a_loop(tiny_encoder, classes, kind, gram):
    encoder = tiny_encoder(double=True)
    task = TokenisedTask(task_facts(classes), random_examples(14, classes))
    options = FisherOptions(kinds=(kind,), examples=11, batch_size=4, device="cpu", gram=gram)
    head = start_head(encoder, task, HeadOptions()).double()
    _, grams = measure_fisher(encoder, head, task, SMALL, options, progress=False)
    module, of_head = looped(tiny_encoder(double=True), task, options, kind, 1)
    np.testing.assert_allclose(grams.projections[1, kind], module, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(grams.head, of_head, rtol=1e-5, atol=1e-6)


def test_the_best_step_is_the_minimum_of_the_quadratic():
    u = np.random.default_rng(0).normal(0.3, 1.0, 500)
    steps = np.linspace(0, 1, 100_001)
    losses = -steps * u.mean() + 0.5 * steps**2 * np.mean(u**2)
    assert best_step(u) == pytest.approx(steps[losses.argmin()], abs=1e-5)
    assert best_step(np.zeros(3)) == 0.0


def projections(signal: float, step: float = 1.0, examples: int = 100) -> np.ndarray:
    """(n) of z = `signal` and, where that is above 0, η* = `step`."""
    noise = np.random.default_rng(0).normal(size=examples)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    found = noise + signal * SPREAD / np.sqrt(examples)
    return found * (found.mean() / np.mean(found**2) / step if signal > 0 else 1.0)


@pytest.mark.parametrize("name", LAWS)
def test_a_rate_follows_the_step_half_way_and_within_bounds(name):
    law = LAWS[name]
    for factor, expected in [(1.0, 1.0), (4.0, 2.0), (0.25, 0.5), (1e6, 3.0), (1e-6, 1 / 3)]:
        found = explain_rate(name, projections(1e4, law.typical * factor), REFERENCE)
        assert found.rate == pytest.approx(law.usual * expected, rel=1e-6)
    assert FURTHEST == 9.0


@pytest.mark.parametrize(
    ("signal", "factor"),
    [(-9.0, 1), (0.0, 1), (0.9, 1), (1.0, 1), (2.0, 4**0.375), (2**0.5, 4**0.25), (1e4, 2)],
)
def test_the_less_signal_the_less_a_rate_follows(signal, factor):
    law = LAWS[A]
    found = explain_rate(A, projections(signal, law.typical * 4), REFERENCE)
    assert found.rate == pytest.approx(law.usual * factor, rel=1e-6)
    assert found.signal == pytest.approx(signal, abs=1e-8)


def test_a_rate_of_a_product_falls_with_length():
    short, long = (explain_rate(L, projections(5.0), updates).rate for updates in (125, 500))
    assert long == pytest.approx(short / 2)
    same = (explain_rate(A, projections(5.0), updates).rate for updates in (125, 500))
    assert len(set(same)) == 1


@pytest.mark.parametrize("name", LAWS)
def test_a_rate_falls_with_the_encoder_but_the_heads(name):
    half = 1.0 if name == "head" else 0.5
    small, usual, large = (
        explain_rate(name, projections(5.0), 125, units) for units in (UNITS // 2, UNITS, 4 * UNITS)
    )
    assert small == usual and usual.usual == LAWS[name].usual
    assert (large.rate / usual.rate, large.usual / usual.usual) == pytest.approx((half, half))


def test_auto_knows_how_large_the_encoder_is():
    table = make_table()
    large = replace(table, encoder=replace(table.encoder, hidden=UNITS))  # of four layers
    options, grams = RateOptions(head="auto"), grams_of(table, 5.0)
    found = [resolve_rates(options, each, grams, 125).rates for each in (table, large)]
    for name, half in {"prefix": 0.5, "adapter": 0.5, "lora": 0.5, "head": 1.0}.items():
        assert getattr(found[1], name) == pytest.approx(half * getattr(found[0], name))


def grams_of(table, signal: float) -> Grams:
    n = table.examples
    labels, logits = np.zeros(n, dtype=np.int64), np.zeros((n, 3), dtype=np.float32)
    each = {(r.layer, r.kind): projections(signal, examples=n) for r in table.rows}
    return Grams(logits, labels, {}, each, projections(signal, examples=n))


def test_auto_is_resolved_kind_by_kind(tmp_path):
    table = make_table()
    grams = grams_of(table, 5.0)
    found = resolve_rates(RateOptions(lora=0.5, head="auto"), table, grams, 125)
    assert found.rates.lora == 0.5 and set(found.reasons) == {"prefix", "adapter", "head"}
    layers = table.encoder.layers
    summed = sum(grams.projections[layer, A] for layer in range(layers))
    assert found.rates.adapter == pytest.approx(explain_rate(A, summed, 125).rate)
    plan = select_plan(
        table, grams, "m", ByCriterion(), SelectOptions(), RateOptions(), Pilot(125, "updates", 1.0)
    )
    assert set(plan.reason.rates) <= {str(kind) for kind in plan.kinds}
    assert plan.updates == 125
    grams.save(tmp_path / "grams.safetensors")
    loaded = Grams.load(tmp_path / "grams.safetensors")
    np.testing.assert_array_equal(loaded.projections[2, L], grams.projections[2, L])
    with pytest.raises(PlanError, match="learning_rate.prefix is auto, and .* no projections"):
        resolve_rates(RateOptions(), table, replace(grams, projections={}), 125)


def test_every_kind_is_auto_by_default(tiny_encoder):
    encoder, task = tiny_encoder(), TokenisedTask(task_facts(2), random_examples(14, 2))
    options = FisherOptions(kinds=tuple(ModuleKind), examples=11, batch_size=4, device="cpu")
    head = start_head(encoder, task, HeadOptions())
    table, grams = measure_fisher(encoder, head, task, SMALL, options, progress=False)
    found = resolve_rates(RateOptions(), table, grams, 125)
    assert set(found.reasons) == set(ModuleKind)
    for kind in (BIAS, IA3):
        summed = sum(grams.projections[layer, kind] for layer in range(table.encoder.layers))
        assert getattr(found.rates, kind) == pytest.approx(explain_rate(kind, summed, 125).rate)


def test_a_choice_from_noise_falls_back():
    table, pilot, rates = make_table(), Pilot(125, "updates", 1.0), RateOptions()
    chosen = {
        (signal, fallback): select_plan(
            table,
            grams_of(table, signal),
            "m",
            ByCriterion(),
            SelectOptions(fallback=fallback),
            rates,
            pilot,
        )  # fmt: skip
        for signal in (0.0, 5.0)
        for fallback in (None, A)
    }
    clear = chosen[5.0, A]
    assert clear == chosen[5.0, None] and clear.reason.note is None
    kept = chosen[0.0, None]
    assert kept.layers == clear.layers and kept.reason.note.endswith("select.fallback is null")
    fallen = chosen[0.0, A]
    assert fallen.layers == (A,) * 4 and "adapter at every layer instead" in fallen.reason.note
    assert fallen.reason.reliability < NOISE < clear.reason.reliability


def test_the_fallback_stays_within_what_may_be_chosen():
    table, pilot = make_table(), Pilot(125, "updates", 1.0)

    def choose(fallback=A, criterion="snr", **options):
        method = ByCriterion(criterion=CriterionName(criterion))
        options = SelectOptions(fallback=fallback, **options)
        args = (table, grams_of(table, 0.0), "m", method, options, RateOptions(), pilot)
        return select_plan(*args)

    top = choose(top_layers=1)
    assert top.layers == (None, None, None, A)
    assert "adapter at every layer that may have it instead" in top.reason.note
    limit = 4 * table.row(0, L).parameters  # no more than LoRA everywhere, of 10,000
    small = choose(budget=limit / 10_000)
    assert small.kept <= limit and small.layers == choose(None, budget=limit / 10_000).layers
    assert "and adapter is above select.budget" in small.reason.note
    assert choose(L, budget=limit / 10_000).layers == (L,) * 4
    for criterion in ("depth", "parameters"):  # they measure nothing that could be noise
        assert choose(criterion=criterion) == choose(None, criterion)


def test_z_tells_noise_from_signal():
    rng = np.random.default_rng(0)

    def across(mean: float) -> np.ndarray:
        """Of gradients (200, 400), each on the sign of the mean of the half it is not in."""
        halves = rng.normal(mean, 1.0, (2, 100, 400))
        signs = np.sign(halves.mean(axis=1))
        return np.concatenate([halves[0] @ signs[1], halves[1] @ signs[0]])

    noise = [z_score(across(0.0)) for _ in range(600)]
    assert abs(np.mean(noise)) < 0.15 and np.std(noise) == pytest.approx(1.0, abs=0.1)
    assert np.mean(np.array(noise) > NOISE) == pytest.approx(0.023, abs=0.02)
    assert z_score(across(0.08)) > 4
    assert z_score(np.ones(5)) == 0.0
    table = make_table()
    assert reliability((None,) * 4, grams_of(table, 1.0)) is None
    assert asdict(RateOptions())["lora"] == "auto"
