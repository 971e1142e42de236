"""Keys and values that an encoder computes for a text, against transformers' own and by hand."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModel

from fishpal.common.kinds import Site
from fishpal.encoders.attention import _CAPTURED
from fishpal.encoders.encoder import load_encoder
from fishpal.encoders.ports import ports_of
from tests.conftest import DECODERS, EVERY_TYPE, LAYERS, OWN_ATTENTION, TYPES

TEXT = torch.tensor([[5, 17, 30]])  # no longer than the decoders' windows, or their caches forget
PLAIN = [kind for kind in TYPES if kind != "modernbert"]


def own_model(folder, kind):
    """Transformers' model as it is, with none of our attention."""
    eager = {} if kind in OWN_ATTENTION else {"attn_implementation": "eager"}
    return AutoModel.from_pretrained(folder, **eager).double().eval()


def check(found, expected):
    assert len(found) == len(expected) == LAYERS
    for pair, other in zip(found, expected, strict=True):
        for ours, theirs in zip(pair, other, strict=True):
            assert ours.shape == theirs.shape and theirs.abs().max() > 0.01
            torch.testing.assert_close(ours, theirs.to(ours.dtype), rtol=1e-5, atol=1e-6)


def projected(port, states):
    """K and V of (T, d), by the projections' weights."""
    for site in (Site.KEY, Site.VALUE):
        bias = port.sites[site].bias
        yield states @ port.sites[site].weight.T + (0 if bias is None else bias)


@torch.no_grad()
@pytest.mark.parametrize("kind", [*PLAIN, "gpt2"])
def test_they_are_projections_of_hidden_states(tiny_encoder, encoder_folders, kind):
    model = own_model(encoder_folders[kind], kind)
    states = model(TEXT, output_hidden_states=True).hidden_states
    expected = []
    for port, hidden in zip(ports_of(model), states, strict=False):
        normed = port.layer.ln_1(hidden[0]) if kind == "gpt2" else hidden[0]
        expected.append(list(projected(port, normed)))
    check(tiny_encoder(kind, double=True).keys_values(TEXT), expected)


@torch.no_grad()
def test_modernbert_rotates_keys_as_of_positions_before_the_first(tiny_encoder, encoder_folders):
    model = own_model(encoder_folders["modernbert"], "modernbert")
    states = model(TEXT, output_hidden_states=True).hidden_states
    config, expected = model.config, []
    heads, size = config.num_attention_heads, TEXT.shape[1]
    for number, (port, hidden) in enumerate(zip(ports_of(model), states, strict=False)):
        key, value = projected(port, port.layer.attn_norm(hidden[0]))
        theta = config.rope_parameters[config.layer_types[number]]["rope_theta"]
        key = torch.view_as_complex(  # halves of a head are real and imaginary parts
            key.unflatten(-1, (heads, 2, -1)).transpose(-1, -2).contiguous()
        )
        frequencies = theta ** -(torch.arange(key.shape[-1]).double() / key.shape[-1])
        angles = torch.arange(-size, 0).double()[:, None] * frequencies
        turned = torch.view_as_real(key * torch.exp(1j * angles)[:, None])
        expected.append((turned.transpose(-1, -2).flatten(1), value))
    check(tiny_encoder("modernbert", double=True).keys_values(TEXT), expected)


@torch.no_grad()
@pytest.mark.parametrize("kind", DECODERS)
def test_they_are_what_transformers_caches(tiny_encoder, encoder_folders, kind):
    """Of the same text at the same positions; values hang on distances alone."""
    model = own_model(encoder_folders[kind], kind)

    def cached(first):
        positions = torch.arange(first, first + TEXT.shape[1])[None]
        cache = model(TEXT, position_ids=positions, use_cache=True).past_key_values
        pairs = [(layer.keys[0], layer.values[0]) for layer in cache.layers]
        return [tuple(t.transpose(0, 1).flatten(1) for t in pair) for pair in pairs]

    found = tiny_encoder(kind, double=True).keys_values(TEXT)
    check(found, cached(0 if kind == "gpt2" else -TEXT.shape[1]))
    values = zip(found, cached(0), strict=True)
    for (_, ours), (_, theirs) in values:
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", EVERY_TYPE)
def test_nothing_is_left_behind(encoder_folders, kind):
    encoder, mask = load_encoder(encoder_folders[kind]), torch.ones_like(TEXT)
    before, first = encoder.hidden_states(TEXT, mask), encoder.keys_values(TEXT)
    encoder.model.train().requires_grad_()
    for pair, again in zip(first, encoder.keys_values(TEXT), strict=True):
        assert all(map(torch.equal, pair, again)), "no dropout"
        assert not any(tensor.requires_grad for tensor in again)
    assert encoder.model.training and len(_CAPTURED) == 0
    with pytest.raises(IndexError):
        encoder.keys_values(TEXT + 1000)
    assert encoder.model.training and len(_CAPTURED) == 0
    encoder.model.eval()
    assert torch.equal(encoder.hidden_states(TEXT, mask), before)
