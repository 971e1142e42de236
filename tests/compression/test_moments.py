"""Moments against loops over single texts, and sizes against counting."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fishpal.common.kinds import ModuleKind
from fishpal.compression.cut import cut_module
from fishpal.compression.moments import inner_moments
from fishpal.compression.sizes import smaller_plan
from fishpal.models.batching import collate
from fishpal.models.head import start_head
from fishpal.models.planned import plan_model
from fishpal.models.precision import Passes
from fishpal.models.predict import predict
from fishpal.params.module_options import AdapterOptions, LoraOptions, ModuleOptions, PrefixOptions
from fishpal.params.options import HeadOptions
from fishpal.records.plan import Plan, Reason
from fishpal.records.task import TokenisedTask
from tests.conftest import HIDDEN, random_examples, task_facts
from tests.modules.test_modules import shake

K = ModuleKind
SIZES = ModuleOptions(
    prefix=PrefixOptions(length=3, std=0.5),
    adapter=AdapterOptions(bottleneck=5),
    lora=LoraOptions(rank=4, alpha=6.0),
)


def model_of(encoder, *layers, modules=SIZES):
    plan = Plan("toy", "m", encoder.facts, layers, Reason("uniform"), modules=modules)
    task = TokenisedTask(task_facts(), random_examples(12))
    model = plan_model(encoder, start_head(encoder, task, HeadOptions()), plan, 0)
    shake(list(model.candidates()))
    return model, plan, task


def by_hand(model, examples, module, read):
    """Σ z zᵀ over every text's tokens, one text at a time, from what a module's input gives."""
    seen, whole = [], 0.0
    own = module.delta
    module.delta = lambda *given: seen.append(read(given[-1].double())) or own(*given)
    for example in examples:
        batch = collate([example], 0)
        del batch["labels"]
        with torch.no_grad():
            model.eval()(**batch)
        rows = np.concatenate([seen[-1][0].numpy(), np.ones((len(example.input_ids), 1))], axis=1)
        whole = whole + rows.T @ rows
    del module.delta
    return whole


@pytest.mark.parametrize("kind", ["bert", "modernbert", "mpnet", "gpt2"])
def test_moments_are_of_every_token_and_of_no_padding(tiny_encoder, kind):
    model, _, task = model_of(tiny_encoder(kind), None, K.ADAPTER, K.ADAPTER)
    modes = model.train().training
    found = inner_moments(model, task.fit, 0, Passes(model, "float32"))
    assert model.training == modes and set(found) == {(1, "adapter", "up"), (2, "adapter", "up")}
    (_, module) = model.candidates()
    down, bias = module.down.double(), module.down_bias.double()
    expected = by_hand(model, task.fit, module, lambda x: (x @ down.mT + bias).relu().detach())
    np.testing.assert_allclose(found[2, "adapter", "up"].numpy(), expected, rtol=1e-4, atol=1e-4)


def test_moments_of_each_site_of_a_lora(tiny_encoder):
    model, _, task = model_of(tiny_encoder("bert"), K.LORA, None, None)
    found = inner_moments(model, task.fit, 0, Passes(model, "float32"))
    (module,) = model.candidates()
    assert set(found) == {(0, "lora", "query"), (0, "lora", "value")}
    a = module.query_a.double()
    expected = by_hand(model, task.fit, module, lambda x: (x @ a.mT).detach())
    for site in ("query", "value"):  # both read the layer's input
        a = module.get_parameter(f"{site}_a").double()
        expected = by_hand(model, task.fit, module, lambda x: (x @ a.mT).detach())  # noqa: B023
        np.testing.assert_allclose(found[0, "lora", site].numpy(), expected, rtol=1e-4, atol=1e-4)


def test_nobody_watches_afterwards(tiny_encoder):
    model, _, task = model_of(tiny_encoder("bert"), K.LORA, K.ADAPTER, None)
    with pytest.raises(IndexError):
        inner_moments(model, [replace(task.fit[0], input_ids=[10**6])], 0, Passes(model, "float32"))
    assert all(module._watcher is None for module in model.candidates())


@pytest.mark.parametrize("share", [0.9, 0.5, 0.3, 0.01])
@pytest.mark.parametrize("gates", [False, True])
def test_sizes_are_the_largest_within_the_share(tiny_encoder, share, gates):
    options = replace(SIZES, gates=gates)
    model, plan, _ = model_of(tiny_encoder("bert"), K.LORA, K.ADAPTER, K.PREFIX, modules=options)
    modules = list(model.candidates())
    found = smaller_plan(plan, modules, share)
    gate = (HIDDEN + 1) * gates
    adapters = [size * (2 * HIDDEN + 1) + HIDDEN + gate for size in range(1, 6)]
    loras = [size * 4 * HIDDEN + gate for size in range(1, 5)]
    for kind, kept, size in (
        ("adapter", adapters, found.modules.adapter.bottleneck),
        ("lora", loras, found.modules.lora.rank),
    ):
        fit = [n for n, each in enumerate(kept, start=1) if each <= share * kept[-1]]
        assert size == max(fit, default=1), kind
    assert found.modules.prefix == SIZES.prefix
    assert found.modules.lora.alpha / found.modules.lora.rank == 6.0 / 4
    small = plan_model(tiny_encoder("bert"), model.head, found, 0)
    assert found.kept == sum(module.kept_parameters for module in small.candidates())


def test_a_cut_to_the_whole_size_changes_no_logit(tiny_encoder):
    encoder = tiny_encoder("bert")
    model, plan, task = model_of(encoder, f"{K.ADAPTER}+{K.LORA}", K.PREFIX, K.ADAPTER)
    before = predict(model, task.fit, task.facts)
    moments = inner_moments(model, task.fit, 0, Passes(model, "float32"))
    modules = model.detach()
    model.attach([cut_module(m, moments, encoder.shapes[m.layer], plan.modules) for m in modules])
    assert not set(model.candidates()) & set(modules), "what was stays as it was"
    np.testing.assert_allclose(predict(model, task.fit, task.facts), before, atol=1e-4)
