"""Cuts against what they minimise, computed from the tokens themselves in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fishpal.compression.reconstruction import cut_adapter, cut_lora

TOKENS = 200


def correlated(rng, tokens, width):
    """Tokens whose entries hang together, as hidden states' do."""
    return rng.normal(size=(tokens, width)) @ rng.normal(size=(width, width))


def lora(rng, rank=4, inputs=9, outputs=7):
    a, b = rng.normal(size=(rank, inputs)), rng.normal(size=(outputs, rank))
    return a, b, correlated(rng, TOKENS, inputs)


def lora_cut(a, b, x, rank):
    inner = x @ a.T
    found = cut_lora(*map(torch.from_numpy, (a, b, inner.T @ inner)), rank)
    return [each.numpy() for each in found]


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_a_cut_lora_puts_out_the_best_of_its_rank(rank):
    a, b, x = lora(np.random.default_rng(0))
    small_a, small_b = lora_cut(a, b, x, rank)
    assert (small_a.shape, small_b.shape) == ((rank, 9), (7, rank))
    u, s, vt = np.linalg.svd(x @ a.T @ b.T, full_matrices=False)  # Eckart & Young, on the outputs
    best = u[:, :rank] * s[:rank] @ vt[:rank]
    np.testing.assert_allclose(x @ small_a.T @ small_b.T, best, atol=1e-5 * np.abs(best).max())


def test_a_cut_loras_factors_are_as_long_to_one_another_as_the_whole_ones():
    a, b, x = lora(np.random.default_rng(1))
    b *= 0.01
    small_a, small_b = lora_cut(a, b, 100 * x, 2)
    ratios = np.linalg.norm(small_a, axis=1) / np.linalg.norm(small_b, axis=0)
    np.testing.assert_allclose(ratios, np.linalg.norm(a) / np.linalg.norm(b))


def test_an_untrained_lora_stays_nothing():
    a, b, x = lora(np.random.default_rng(2))
    small_a, small_b = lora_cut(a, 0 * b, x, 2)
    assert np.isfinite(small_a).all() and not small_b.any()


def outputs(inner, units, up, bias):
    return inner[:, units] @ up.T + bias


def refitted(inner, units, wanted):
    """The least squares of `wanted` on units and a constant, and what it leaves."""
    design = np.column_stack([inner[:, units], np.ones(len(inner))])
    maps, *_ = np.linalg.lstsq(design, wanted, rcond=None)
    return maps, float(((wanted - design @ maps) ** 2).sum())


def by_hand(inner, up, bias, size):
    """Greedy: each time the unit without which a new least squares leaves the least."""
    wanted, units = inner @ up.T + bias, list(range(up.shape[1]))
    while len(units) > size:
        rests = [refitted(inner, [u for u in units if u != out], wanted)[1] for out in units]
        del units[int(np.argmin(rests))]
    return units, refitted(inner, units, wanted)[0]


def adapter(seed, width=6, units=8):
    rng = np.random.default_rng(seed)
    inner = np.maximum(correlated(rng, TOKENS, units), 0.0)
    return inner, rng.normal(size=(width, units)), rng.normal(size=width)


def adapter_cut(inner, up, bias, size):
    wide = np.column_stack([inner, np.ones(len(inner))])
    given = map(torch.from_numpy, (up, bias, wide.T @ wide))
    units, small, shift = cut_adapter(*given, size)
    return units, small.numpy(), shift.numpy()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [1, 3, 7])
def test_a_cut_adapter_keeps_the_units_that_the_others_cannot_make_good(size, seed):
    inner, up, bias = adapter(seed)
    units, small, shift = adapter_cut(inner, up, bias, size)
    expected, maps = by_hand(inner, up, bias, size)
    assert units == expected
    np.testing.assert_allclose(small, maps[:-1].T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(shift, maps[-1], rtol=1e-4, atol=1e-5)


def test_units_that_no_token_wakes_go_first_and_cost_nothing():
    inner, up, bias = adapter(4)
    inner[:, [1, 5]] = 0.0
    inner[:, 6] = 2 * inner[:, 2]  # one of these two says what the other does
    units, small, shift = adapter_cut(inner, up, bias, 5)
    assert not {1, 5} & set(units) and len({2, 6} & set(units)) == 1
    wanted = inner @ up.T + bias
    np.testing.assert_allclose(outputs(inner, units, small, shift), wanted, atol=1e-4)


def test_all_of_an_adapter_stays_as_it_is():
    inner, up, bias = adapter(5)
    units, small, shift = adapter_cut(inner, up, bias, 8)
    assert units == list(range(8))
    np.testing.assert_allclose(small, up, atol=1e-5)
    np.testing.assert_allclose(shift, bias, atol=1e-5)


def test_no_token_at_all_leaves_numbers():
    units, small, _ = adapter_cut(*adapter(6), 2)
    assert len(units) == 2
    a, b, _ = lora(np.random.default_rng(3))
    for found in lora_cut(a, b, np.zeros((1, 9)), 1):
        assert np.isfinite(found).all()
    assert np.isfinite(small).all()
