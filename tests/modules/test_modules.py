"""Each kind against an independent oracle, on every encoder type."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import numpy as np
import peft
import pytest
import torch
from torch import nn

from fishpal.common.errors import AttachError, EncoderError
from fishpal.common.kinds import ModuleKind, Site
from fishpal.encoders.ports import ports_of
from fishpal.encoders.specs import spec_of
from fishpal.models.batching import collate
from fishpal.models.classifier import Classifier
from fishpal.modules.attach import attach, build_module, build_modules, detach
from fishpal.params.module_options import AdapterOptions, LoraOptions, ModuleOptions, PrefixOptions
from tests.conftest import (
    DECODERS,
    EVERY_TYPE,
    HIDDEN,
    LAYERS,
    OWN_ATTENTION,
    kinds_of,
    random_examples,
)
from tests.oracles import ORACLE_PREFIX, own_attention

K = ModuleKind
FUSED = ("modernbert", "gpt2")
SMALL = ModuleOptions(
    prefix=PrefixOptions(length=3, mid=5, std=0.5),
    adapter=AdapterOptions(bottleneck=5),
    lora=LoraOptions(rank=2, alpha=6.0),
)
PARALLEL = ModuleOptions(adapter=AdapterOptions(bottleneck=5, placement="parallel"))


@contextmanager
def attached(encoder: nn.Module, modules: Sequence[nn.Module]) -> Iterator[None]:
    attach(encoder, modules)
    try:
        yield
    finally:
        detach(modules)


def batch_of(count: int = 4) -> dict[str, torch.Tensor]:
    batch = collate(random_examples(count), pad_id=0)
    del batch["labels"]
    return batch


def unpadded() -> dict[str, torch.Tensor]:
    """Texts of one length, where transformers leaves the mask out."""
    batch = batch_of()
    size = int(batch["attention_mask"].sum(dim=1).min())
    return {name: rows[:, :size] for name, rows in batch.items()}


def shake(modules: list[nn.Module], seed: int = 1) -> None:
    """Move every parameter off its start, where LoRA and adapters do nothing."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in modules:
            for p in module.parameters():
                p += 0.3 * torch.randn(p.shape, generator=generator)


def hidden_states(encoder: nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        return encoder(**batch).last_hidden_state


def fresh(model: nn.Module, layers: Sequence[ModuleKind | None], options=SMALL, seed=3):  # type: ignore[no-untyped-def]
    """Fresh modules for a model, of its weights' type."""
    found = build_modules(layers, [port.shape for port in ports_of(model)], options, seed)
    return [module.to(next(model.parameters()).dtype) for module in found]


SITES = {
    "default": LoraOptions(rank=2, alpha=6.0),
    "all": LoraOptions(rank=2, alpha=6.0, sites="all"),
    "rslora": LoraOptions(rank=2, alpha=6.0, sites=(Site.OUTPUT, Site.KEY), rslora=True),
}


@pytest.mark.parametrize("sites", SITES)
@pytest.mark.parametrize("kind", EVERY_TYPE)
def test_lora_equals_peft(tiny_model, kind, sites):
    if kind in FUSED:
        pytest.skip("one linear makes query, key and value: test_export holds it to peft")
    lora = SITES[sites]
    ours, theirs = tiny_model(kind, double=True), tiny_model(kind, double=True)
    modules, ports = fresh(ours, [K.LORA] * LAYERS, ModuleOptions(lora=lora)), ports_of(theirs)
    shake(modules)
    names = [layer.sites[site].name for layer in ports for site in modules[0].sites]
    config = peft.LoraConfig(r=2, lora_alpha=6, target_modules=names, use_rslora=lora.rslora)
    theirs = peft.get_peft_model(theirs, config).eval()
    for module, layer in zip(modules, ports, strict=True):
        for site in module.sites:
            linear = theirs.get_submodule("base_model.model." + layer.sites[site].name)
            a, b = module.factors(site)
            with torch.no_grad():
                linear.lora_A["default"].weight.copy_(a)
                linear.lora_B["default"].weight.copy_(b)
    batch = batch_of()
    with attached(ours, modules):
        torch.testing.assert_close(hidden_states(ours, batch), hidden_states(theirs, batch))


@pytest.mark.parametrize("kind", EVERY_TYPE)
def test_ia3_equals_peft(tiny_model, kind):
    if kind in FUSED:
        pytest.skip("peft scales all outputs of a linear: test_ia3_of_a_fused_linear")
    ours, theirs = tiny_model(kind), tiny_model(kind)
    modules, ports = fresh(ours, [K.IA3] * LAYERS), ports_of(theirs)
    shake(modules)
    tensors = {Site.KEY: "key", Site.VALUE: "value", Site.DOWN: "feed_forward"}
    names = [layer.sites[site].name for layer in ports for site in tensors]
    inner = [layer.sites[Site.DOWN].name for layer in ports]
    config = peft.IA3Config(target_modules=names, feedforward_modules=inner)
    theirs = peft.get_peft_model(theirs, config).eval()
    for module, layer in zip(modules, ports, strict=True):
        for site, name in tensors.items():
            linear = theirs.get_submodule("base_model.model." + layer.sites[site].name)
            with torch.no_grad():
                scale = linear.ia3_l["default"]
                scale.copy_((1 + module.get_parameter(name)).reshape(scale.shape))
    batch = batch_of()
    with attached(ours, modules):
        torch.testing.assert_close(hidden_states(ours, batch), hidden_states(theirs, batch))


@pytest.mark.parametrize("kind", FUSED)
def test_ia3_of_a_fused_linear(tiny_model, kind):
    ours, theirs = tiny_model(kind, double=True), tiny_model(kind, double=True)
    modules, ports = fresh(ours, [K.IA3] * LAYERS), ports_of(theirs)
    shake(modules)

    def scaled(scale: torch.Tensor) -> Callable[..., torch.Tensor]:
        return lambda _, inputs, output: output * scale

    for module, layer in zip(modules, ports, strict=True):
        fused = layer.sites[Site.QUERY].linear
        parts = [torch.ones(HIDDEN), 1 + module.key, 1 + module.value]
        fused.register_forward_hook(scaled(torch.cat(parts)))
        inner = layer.sites[Site.DOWN].linear
        inner.register_forward_pre_hook(lambda _, x, s=1 + module.feed_forward: x[0] * s)
    batch = batch_of()
    with attached(ours, modules):
        torch.testing.assert_close(hidden_states(ours, batch), hidden_states(theirs, batch))


@pytest.mark.parametrize("kind", EVERY_TYPE)
def test_bias_equals_changed_biases(tiny_model, kind):
    ours, theirs = tiny_model(kind, double=True), tiny_model(kind, double=True)
    if K.BIAS not in kinds_of(kind):
        with pytest.raises(AttachError, match="layer 0: bias cannot attach, since the layer has"):
            fresh(ours, [K.BIAS] * LAYERS)
        return
    modules = fresh(ours, [K.BIAS] * LAYERS)
    shake(modules)
    layers = theirs.get_submodule(spec_of(theirs.config).layers)
    for module, layer in zip(modules, layers, strict=True):
        changes = dict(module.named_parameters())
        with torch.no_grad():
            for name, p in layer.named_parameters():
                if name.endswith(".bias"):
                    p += changes.pop(name.removesuffix(".bias").replace(".", "_"))
        assert not changes
    batch = batch_of()
    with attached(ours, modules):
        torch.testing.assert_close(hidden_states(ours, batch), hidden_states(theirs, batch))


@pytest.mark.parametrize("options", [SMALL, PARALLEL], ids=["sequential", "parallel"])
@pytest.mark.parametrize("kind", EVERY_TYPE)
def test_adapter_equals_numpy(tiny_model, kind, options):
    encoder = tiny_model(kind, double=True)
    modules = fresh(encoder, [K.ADAPTER] * LAYERS, options)
    shake(modules)
    seen = {}
    port = ports_of(encoder)[1]
    up, down = port.sites[Site.UP].linear, port.sites[Site.DOWN]
    with attached(encoder, modules):
        handles = [
            up.register_forward_pre_hook(lambda m, i: seen.update(x=i[0])),
            down.linear.register_forward_pre_hook(lambda m, i: seen.update(inner=i[0])),
            down.linear.register_forward_hook(lambda m, i, o: seen.update(out=o)),
        ]
        hidden_states(encoder, batch_of())
        for handle in handles:
            handle.remove()
    x, inner, out = (seen[k].numpy() for k in ("x", "inner", "out"))
    h = inner @ down.weight.numpy().T + (0 if down.bias is None else down.bias.numpy())
    t = {name: p.detach().numpy() for name, p in modules[1].named_parameters()}
    source = x if options is PARALLEL else h
    bottleneck = np.maximum(source @ t["down"].T + t["down_bias"], 0)
    np.testing.assert_allclose(out, h + bottleneck @ t["up"].T + t["up_bias"], rtol=1e-10)
    assert np.abs(out - h).max() > 0.1


@pytest.mark.parametrize("reparameterize", [False, True])
@pytest.mark.parametrize("kind", EVERY_TYPE)
def test_prefix_equals_plain_attention(tiny_model, kind, reparameterize):
    ours, theirs = tiny_model(kind, double=True), tiny_model(kind, double=True)
    if kind in OWN_ATTENTION:
        for layer in ports_of(theirs):
            layer.attention.forward = own_attention(layer.attention, kind)
    else:
        theirs.set_attn_implementation("oracle")
    options = ModuleOptions(prefix=PrefixOptions(3, reparameterize, mid=5, std=0.5))
    modules = fresh(ours, [K.PREFIX] * LAYERS, options)
    shake(modules)
    for batch in (batch_of(), unpadded()):
        bare = hidden_states(theirs, batch)
        for layer, module in zip(ports_of(theirs), modules, strict=True):
            ORACLE_PREFIX[id(layer.attention)] = tuple(t.detach() for t in module.kept().values())
        try:
            expected = hidden_states(theirs, batch)
        finally:
            ORACLE_PREFIX.clear()
        shown = batch["attention_mask"].bool()
        with attached(ours, modules):
            torch.testing.assert_close(hidden_states(ours, batch)[shown], expected[shown])
        assert (expected - bare)[shown].abs().max() > 1e-3


WIDE = replace(SMALL, lora=LoraOptions(rank=2, sites="all"))


@pytest.mark.parametrize("kind", EVERY_TYPE)
def test_padding_changes_nothing(tiny_encoder, kind):
    encoder = tiny_encoder(kind, double=True)
    gated = replace(WIDE, gates=True)
    for plan, options in (
        ([K.ADAPTER, K.LORA, K.PREFIX], WIDE),
        ([K.PREFIX, K.IA3, kinds_of(kind)[-2]], WIDE),
        (["+".join(kinds_of(kind))] * LAYERS, gated),
    ):
        modules = fresh(encoder.model, plan, options)
        shake(modules)
        model = Classifier(encoder, nn.Linear(HIDDEN, 2).double()).eval()
        model.attach(modules)
        examples = random_examples(5)
        together = collate(examples, pad_id=0)
        del together["labels"]
        with torch.no_grad():
            batched = model(**together)
            for i, example in enumerate(examples):
                alone = collate([example], pad_id=0)
                del alone["labels"]
                torch.testing.assert_close(model(**alone)[0], batched[i], rtol=1e-9, atol=1e-9)
        model.detach()


@pytest.mark.parametrize("kind", DECODERS)
def test_either_side_may_be_padded(tiny_encoder, kind):
    encoder = tiny_encoder(kind, double=True)
    modules = fresh(encoder.model, [K.ADAPTER, K.LORA, K.PREFIX])
    shake(modules)
    model = Classifier(encoder, nn.Linear(HIDDEN, 2).double()).eval()
    model.attach(modules)
    batch = batch_of()
    sizes = batch["attention_mask"].sum(dim=1).tolist()
    shifts = [batch["input_ids"].shape[1] - size for size in sizes]
    left = {
        name: torch.stack([row.roll(shift) for row, shift in zip(rows, shifts, strict=True)])
        for name, rows in batch.items()
    }
    assert len(set(sizes)) > 1
    with torch.no_grad():
        torch.testing.assert_close(model(**left), model(**batch), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", DECODERS)
def test_a_token_sees_what_precedes_it_alone(tiny_model, kind):
    """A prefix, too; whether anything is padded or not."""
    for modules in ([], [K.PREFIX] * LAYERS):
        model, batch = tiny_model(kind, double=True), unpadded()
        other = batch | {"input_ids": batch["input_ids"].clone()}
        other["input_ids"][:, -1] = 7
        found = fresh(model, modules)
        shake(found)
        with attached(model, found) if found else nullcontext():
            one, two = hidden_states(model, batch), hidden_states(model, other)
        torch.testing.assert_close(one[:, :-1], two[:, :-1])
        assert not torch.allclose(one[:, -1], two[:, -1])


@pytest.mark.parametrize("kind", EVERY_TYPE)
def test_start_and_detach_are_exact(tiny_encoder, kind):
    encoder, batch = tiny_encoder(kind), batch_of()
    model, shapes = encoder.model, encoder.shapes
    before, names = hidden_states(model, batch), set(model.state_dict())
    modules = []
    for candidate in kinds_of(kind):
        found = [build_module(candidate, i, shape, WIDE, 0) for i, shape in enumerate(shapes)]
        assert found[0].starts_as_identity == (candidate != K.PREFIX)
        with attached(model, found):
            same = torch.equal(hidden_states(model, batch), before)
            assert same == found[0].starts_as_identity
        shake(found)
        with attached(model, found):
            assert not torch.equal(hidden_states(model, batch), before), "does something"
        modules += found
    with attached(model, modules):
        assert not torch.equal(hidden_states(model, batch), before)
    assert torch.equal(hidden_states(model, batch), before)
    assert set(model.state_dict()) == names


@pytest.mark.parametrize("kind", EVERY_TYPE)
def test_merging_changes_nothing(tiny_model, kind):
    """Up to rounding, in float64; prefixes and adapters cannot merge."""
    batch = batch_of()
    for candidate in kinds_of(kind):
        model = tiny_model(kind, double=True)
        modules = fresh(model, [candidate] * LAYERS, WIDE)
        shake(modules)
        with attached(model, modules):
            expected = hidden_states(model, batch)
        with torch.no_grad():
            merged = {m.merge(port) for m, port in zip(modules, ports_of(model), strict=True)}
        assert merged == {candidate not in (K.PREFIX, K.ADAPTER)}
        if True in merged:
            torch.testing.assert_close(hidden_states(model, batch), expected)


@pytest.mark.parametrize("kind", ["bert", "gpt2", "modernbert"])
def test_several_at_a_layer_act_as_what_they_merge_to(tiny_model, kind):
    """In float64, with projections that LoRA, biases and (IA)³ share; the others stay attached."""
    model, batch = tiny_model(kind, double=True), batch_of()
    modules = fresh(model, ["+".join(kinds_of(kind))] * LAYERS, WIDE)
    shake(modules)
    with attached(model, modules):
        expected = hidden_states(model, batch)
    ports = ports_of(model)
    with torch.no_grad():
        rest = [module for module in modules if not module.merge(ports[module.layer])]
    assert {module.kind for module in rest} == {K.PREFIX, K.ADAPTER}
    with attached(model, rest):
        torch.testing.assert_close(hidden_states(model, batch), expected)


def test_lora_a_has_no_gradient_at_the_start(tiny_model):
    encoder = tiny_model()
    modules = fresh(encoder, [K.LORA] * LAYERS)
    with attached(encoder, modules):
        encoder(**batch_of()).last_hidden_state.pow(2).sum().backward()
    for module in modules:
        assert not module.query_a.grad.any()
        assert not module.value_a.grad.any()
        assert module.query_b.grad.any()
        assert module.value_b.grad.any()


def test_a_candidate_starts_the_same_in_every_plan(tiny_model):
    encoder = tiny_model()
    alone = fresh(encoder, [None, K.LORA, None], seed=4)[0]
    mixed = fresh(encoder, [K.PREFIX, K.LORA, K.ADAPTER], seed=4)[1]
    other = fresh(encoder, [K.PREFIX, K.LORA, K.ADAPTER], seed=5)[1]
    assert torch.equal(alone.query_a, mixed.query_a)
    assert not torch.equal(mixed.query_a, other.query_a)


def test_a_site_that_the_layer_lacks_is_an_error(tiny_model):
    lora = LoraOptions(sites=(Site.GATE, Site.UP))
    with pytest.raises(AttachError, match="lora.sites is gate; allowed .*: query, key, value, out"):
        fresh(tiny_model(), [K.LORA] * LAYERS, ModuleOptions(lora=lora))


def test_albert_is_an_error(tmp_path):
    from tests.conftest import tiny_folder

    folder = tiny_folder("albert", tmp_path / "albert")
    from fishpal.encoders.encoder import load_encoder

    with pytest.raises(EncoderError, match="albert.*share.*allowed: bert"):
        load_encoder(folder)


def test_attaching_to_nothing_is_an_error(tiny_model):
    encoder = tiny_model()
    shape = ports_of(encoder)[0].shape
    with pytest.raises(AttachError, match="modules is empty"):
        attached(encoder, []).__enter__()
    with pytest.raises(AttachError, match="layer is 7; allowed: 0 to 2"):
        attached(encoder, [build_module(K.LORA, 7, shape, SMALL, 0)]).__enter__()
    module, second = (build_module(K.PREFIX, 0, shape, SMALL, seed) for seed in (0, 1))
    with pytest.raises(AttachError, match="has a prefix already"):
        attached(encoder, [module, second]).__enter__()
    with attached(encoder, [module]):
        with pytest.raises(AttachError, match="attached already"):
            attached(tiny_model(), [module]).__enter__()
        with pytest.raises(AttachError, match=r"has 1 modules attached \(prefix\).*detach"):
            attached(encoder, [second]).__enter__()
