"""MAM and UniPELT: several modules of a layer, and gates, against a layer in plain torch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fishpal.common.errors import PlanError
from fishpal.common.kinds import ModuleKind
from fishpal.exports.peft_encoder import export_peft
from fishpal.fisher.engine import measure_fisher
from fishpal.fisher.sample import draw_sample
from fishpal.models.batching import collate
from fishpal.models.classifier import Classifier
from fishpal.models.head import start_head
from fishpal.models.planned import plan_model
from fishpal.models.trained import load, save
from fishpal.modules.attach import build_module
from fishpal.params.methods import Mam, Unipelt
from fishpal.params.options import FisherOptions, HeadOptions, RateOptions, SelectOptions
from fishpal.records.pilot import Pilot
from fishpal.records.task import TokenisedTask
from fishpal.selection.methods import select_plan
from fishpal.training.groups import parameter_groups
from tests.conftest import random_examples, task_facts
from tests.modules.test_modules import SMALL, attached, batch_of, fresh, shake

K = ModuleKind
METHODS = {"mam": Mam(), "unipelt": Unipelt()}


def chosen(encoder, method):
    """The method's plan by a table of the encoder, and that table's task."""
    task = TokenisedTask(task_facts(), random_examples(8))
    options = FisherOptions(examples=8, device="cpu")
    head = start_head(encoder, task, HeadOptions())
    table, grams = measure_fisher(encoder, head, task, SMALL, options, progress=False)
    pilot, rates = Pilot(125, "updates", 0.7), RateOptions(gate=0.07)
    return select_plan(table, grams, "m", METHODS[method], SelectOptions(), rates, pilot), head


def plain_layer(layer, h, modules, gated):
    """BERT's layer of one text, h (T, d), with the modules; each gate by a loop over tokens."""

    def linear(part, x):
        return x @ part.weight.T + part.bias

    def gate(kind):
        if not gated:
            return 1.0
        own = modules[kind].gate
        opened = [1 / (1 + np.exp(-float(own.weight @ token + own.bias))) for token in h]
        return sum(opened) / len(opened)

    t = {kind: dict(module.named_parameters()) for kind, module in modules.items()}
    attention, width = layer.attention.self, layer.attention.self.attention_head_size
    parts = {name: linear(getattr(attention, name), h) for name in ("query", "key", "value")}
    if K.LORA in modules:
        for site in ("query", "value"):
            delta = h @ t[K.LORA][f"{site}_a"].T @ t[K.LORA][f"{site}_b"].T
            parts[site] = parts[site] + gate(K.LORA) * modules[K.LORA].scale * delta
    for site in ("key", "value"):
        parts[site] = torch.cat([gate(K.PREFIX) * t[K.PREFIX][site], parts[site]])
    heads = []
    for start in range(0, h.shape[1], width):
        q, k, v = (parts[n][:, start : start + width] for n in ("query", "key", "value"))
        heads.append((q @ k.T / width**0.5).softmax(-1) @ v)
    out = layer.attention.output
    x = out.LayerNorm(linear(out.dense, torch.cat(heads, dim=1)) + h)
    inner = torch.nn.functional.gelu(linear(layer.intermediate.dense, x))
    down = linear(layer.output.dense, inner)
    source = down if gated else x  # MAM's adapter is parallel
    a = t[K.ADAPTER]
    bottleneck = (source @ a["down"].T + a["down_bias"]).relu()
    down = down + gate(K.ADAPTER) * (bottleneck @ a["up"].T + a["up_bias"])
    return layer.output.LayerNorm(down + x)


@pytest.mark.parametrize("method", METHODS)
def test_a_layer_equals_plain_torch(tiny_encoder, method):
    plan, _ = chosen(tiny_encoder(), method)
    model = tiny_encoder(double=True).model
    modules = fresh(model, plan.layers, plan.modules)
    shake(modules)
    seen = {}
    layer = model.encoder.layer[1]
    mine = {module.kind: module for module in modules if module.layer == 1}
    assert set(mine) == {K.PREFIX, K.ADAPTER} | ({K.LORA} if method == "unipelt" else set())
    batch = batch_of()
    with attached(model, modules), torch.no_grad():
        handle = layer.register_forward_hook(lambda _, i, o: seen.update(h=i[0], out=o))
        model(**batch)
        handle.remove()
    out = seen["out"] if torch.is_tensor(seen["out"]) else seen["out"][0]
    for row, size in enumerate(batch["attention_mask"].sum(1).tolist()):
        with torch.no_grad():
            expected = plain_layer(layer, seen["h"][row, :size], mine, method == "unipelt")
        torch.testing.assert_close(out[row, :size], expected)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_kept_trained_and_loaded(tiny_encoder, tmp_path, method):
    encoder = tiny_encoder()
    plan, head = chosen(encoder, method)
    gates = 3 * 3 * (encoder.facts.hidden + 1) if method == "unipelt" else 0
    through = replace(plan.modules.prefix, reparameterize=True)
    for each in (plan, replace(plan, modules=replace(plan.modules, prefix=through))):
        encoder = tiny_encoder()
        model = plan_model(encoder, head, each, seed=0)
        kept = model.parameter_counts().kept - sum(p.numel() for p in head.parameters())
        assert kept == plan.kept
        groups = parameter_groups(model, each, 0.0)
        slow = [p for group in groups if group["lr"] == 0.07 for p in group["params"]]
        assert sum(p.numel() for p in slow) == gates
        assert sum(len(group["params"]) for group in groups) == sum(
            p.requires_grad for p in model.parameters()
        )
        shake(list(model.candidates()))
        logits = model.eval()(**batch_of())
        save(model, each, tmp_path / method, task=task_facts(), seed=0, best=1)
        if gates:
            with pytest.raises(PlanError, match="kinds are adapter, lora, prefix"):
                export_peft(model, tmp_path / "peft")
        model.detach()
        assert torch.equal(load(tiny_encoder(), tmp_path / method)(**batch_of()), logits)


@pytest.mark.parametrize("kind", [K.PREFIX, K.LORA, K.ADAPTER])
def test_fisher_of_gated_modules_equals_a_loop(tiny_encoder, kind):
    encoder, options = tiny_encoder(double=True), replace(SMALL, gates=True)
    task = TokenisedTask(task_facts(), random_examples(8))
    head = start_head(encoder, task, HeadOptions()).double()
    fisher = FisherOptions(kinds=(kind,), examples=6, batch_size=4, device="cpu")
    table, _ = measure_fisher(encoder, head, task, options, fisher, progress=False)
    encoder = tiny_encoder(double=True)
    model = Classifier(encoder, head).eval().requires_grad_(False)
    modules = [build_module(kind, i, s, options, 0).double() for i, s in enumerate(encoder.shapes)]
    model.attach(modules)
    sample = draw_sample(task, fisher).examples
    for module in modules:
        module.requires_grad_()
        squares = dict.fromkeys(dict(module.named_parameters()), 0.0)
        for example in sample:
            batch = collate([example], 0)
            labels = batch.pop("labels")
            value = model(**batch).log_softmax(-1)[0, labels[0]]
            found = torch.autograd.grad(value, list(module.parameters()))
            for name, gradient in zip(squares, found, strict=True):
                squares[name] += float(gradient.pow(2).sum()) / len(sample)
        row = table.row(module.layer, kind)
        assert row.tensor_traces == pytest.approx(squares, rel=1e-5)
        assert (squares["gate.weight"] > 0) == (kind == K.PREFIX), "others start at a change of 0"
    model.detach()
