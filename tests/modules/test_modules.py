"""Each kind against an independent oracle, on every encoder type."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import peft
import pytest
import torch
from torch import nn

from fishpal.common.errors import AttachError, EncoderError
from fishpal.common.kinds import ModuleKind
from fishpal.encoders.encoder import Encoder, ports_of
from fishpal.models.batching import collate
from fishpal.models.classifier import Classifier
from fishpal.modules.attach import attach, build_module, build_modules, detach
from fishpal.params.options import AdapterOptions, LoraOptions, ModuleOptions, PrefixOptions
from tests.conftest import HIDDEN, LAYERS, OWN_ATTENTION, TYPES, random_examples
from tests.oracles import ORACLE_PREFIX, own_attention

K = ModuleKind
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


@pytest.mark.parametrize("kind", TYPES)
def test_lora_equals_peft(tiny_model, kind):
    if kind == "modernbert":
        pytest.skip("one linear makes query, key and value: test_export holds it to peft")
    ours, theirs = tiny_model(kind), tiny_model(kind)
    modules = build_modules([K.LORA] * LAYERS, HIDDEN, SMALL, seed=3)
    shake(modules)
    ports = ports_of(theirs)
    names = [port.name for layer in ports for port in (layer.query, layer.value)]
    config = peft.LoraConfig(r=2, lora_alpha=6, lora_dropout=0.0, target_modules=names)
    theirs = peft.get_peft_model(theirs, config).eval()
    for module, layer in zip(modules, ports, strict=True):
        for role in ("query", "value"):
            linear = theirs.get_submodule("base_model.model." + getattr(layer, role).name)
            with torch.no_grad():
                linear.lora_A["default"].weight.copy_(getattr(module, f"{role}_a"))
                linear.lora_B["default"].weight.copy_(getattr(module, f"{role}_b"))
    batch = batch_of()
    with attached(ours, modules):
        torch.testing.assert_close(hidden_states(ours, batch), hidden_states(theirs, batch))


@pytest.mark.parametrize("options", [SMALL, PARALLEL], ids=["sequential", "parallel"])
@pytest.mark.parametrize("kind", TYPES)
def test_adapter_equals_numpy(tiny_model, kind, options):
    encoder = tiny_model(kind, double=True)
    modules = [m.double() for m in build_modules([K.ADAPTER] * LAYERS, HIDDEN, options, seed=3)]
    shake(modules)
    seen = {}
    port = ports_of(encoder)[1]
    with attached(encoder, modules):
        handles = [
            port.up.register_forward_pre_hook(lambda m, i: seen.update(x=i[0])),
            port.down.register_forward_pre_hook(lambda m, i: seen.update(inner=i[0])),
            port.down.register_forward_hook(lambda m, i, o: seen.update(out=o)),
        ]
        hidden_states(encoder, batch_of())
        for handle in handles:
            handle.remove()
    x, inner, out = (seen[k].numpy() for k in ("x", "inner", "out"))
    weight = port.down.weight.numpy()
    h = inner @ weight.T + (0 if port.down.bias is None else port.down.bias.numpy())
    t = {name: p.detach().numpy() for name, p in modules[1].named_parameters()}
    source = x if options is PARALLEL else h
    bottleneck = np.maximum(source @ t["down"].T + t["down_bias"], 0)
    np.testing.assert_allclose(out, h + bottleneck @ t["up"].T + t["up_bias"], rtol=1e-10)
    assert np.abs(out - h).max() > 0.1


@pytest.mark.parametrize("reparameterize", [False, True])
@pytest.mark.parametrize("kind", TYPES)
def test_prefix_equals_plain_attention(tiny_model, kind, reparameterize):
    ours, theirs = tiny_model(kind, double=True), tiny_model(kind, double=True)
    if kind in OWN_ATTENTION:
        for layer in ports_of(theirs):
            layer.attention.forward = own_attention(layer.attention, kind)
    else:
        theirs.set_attn_implementation("oracle")
    options = ModuleOptions(prefix=PrefixOptions(3, reparameterize, mid=5, std=0.5))
    modules = [m.double() for m in build_modules([K.PREFIX] * LAYERS, HIDDEN, options, seed=3)]
    shake(modules)
    batch = batch_of()
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


@pytest.mark.parametrize("kind", TYPES)
def test_padding_changes_nothing(tiny_model, kind):
    encoder = tiny_model(kind, double=True)
    plan = [K.ADAPTER, K.LORA, K.PREFIX]
    modules = [m.double() for m in build_modules(plan, HIDDEN, SMALL, seed=3)]
    shake(modules)
    model = Classifier(Encoder.of(encoder), nn.Linear(HIDDEN, 2).double()).eval()
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


@pytest.mark.parametrize("kind", TYPES)
def test_start_and_detach_are_exact(tiny_model, kind):
    encoder, batch = tiny_model(kind), batch_of()
    before, names = hidden_states(encoder, batch), set(encoder.state_dict())
    for candidate in (K.LORA, K.ADAPTER):
        with attached(encoder, build_modules([candidate] * LAYERS, HIDDEN, SMALL, seed=0)):
            assert torch.equal(hidden_states(encoder, batch), before), "starts as the identity"
    kinds = [K.LORA, K.ADAPTER, K.PREFIX]
    modules = [build_module(k, layer, HIDDEN, SMALL, 0) for layer in range(LAYERS) for k in kinds]
    shake(modules)
    with attached(encoder, modules):
        assert not torch.equal(hidden_states(encoder, batch), before)
    assert torch.equal(hidden_states(encoder, batch), before)
    assert set(encoder.state_dict()) == names


def test_lora_a_has_no_gradient_at_the_start(tiny_model):
    encoder = tiny_model()
    modules = build_modules([K.LORA] * LAYERS, HIDDEN, SMALL, seed=0)
    with attached(encoder, modules):
        encoder(**batch_of()).last_hidden_state.pow(2).sum().backward()
    for module in modules:
        assert not module.query_a.grad.any()
        assert not module.value_a.grad.any()
        assert module.query_b.grad.any()
        assert module.value_b.grad.any()


def test_a_candidate_starts_the_same_in_every_plan():
    alone = build_modules([None, K.LORA, None], HIDDEN, SMALL, seed=4)[0]
    mixed = build_modules([K.PREFIX, K.LORA, K.ADAPTER], HIDDEN, SMALL, seed=4)[1]
    other = build_modules([K.PREFIX, K.LORA, K.ADAPTER], HIDDEN, SMALL, seed=5)[1]
    assert torch.equal(alone.query_a, mixed.query_a)
    assert not torch.equal(mixed.query_a, other.query_a)


def test_albert_is_an_error(tmp_path):
    from tests.conftest import tiny_folder

    folder = tiny_folder("albert", tmp_path / "albert")
    from fishpal.encoders.encoder import load_encoder

    with pytest.raises(EncoderError, match="albert.*share.*allowed: bert"):
        load_encoder(folder)


def test_attaching_to_nothing_is_an_error(tiny_model):
    encoder = tiny_model()
    with pytest.raises(AttachError, match="modules is empty"):
        attached(encoder, []).__enter__()
    with pytest.raises(AttachError, match="layer is 7; allowed: 0 to 2"):
        attached(encoder, [build_module(K.LORA, 7, HIDDEN, SMALL, 0)]).__enter__()
    module, second = (build_module(K.PREFIX, 0, HIDDEN, SMALL, seed) for seed in (0, 1))
    with pytest.raises(AttachError, match="has a prefix already"):
        attached(encoder, [module, second]).__enter__()
    with attached(encoder, [module]):
        with pytest.raises(AttachError, match="attached already"):
            attached(tiny_model(), [module]).__enter__()
        with pytest.raises(AttachError, match=r"has 1 modules attached \(prefix\).*detach"):
            attached(encoder, [second]).__enter__()
