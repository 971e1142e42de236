"""Pooling: which hidden states make the vector of a text."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fishpal.common.errors import EncoderError
from fishpal.encoders.encoder import load_encoder
from fishpal.encoders.pooling import pool


def test_pools_equal_numpy():
    hidden = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1]])
    states = hidden.numpy()
    mean = [states[0].mean(0), states[1, :2].mean(0), states[2, 2:].mean(0)]
    np.testing.assert_allclose(pool(hidden, mask, "mean"), mean, rtol=1e-6)
    last = [states[0, 3], states[1, 1], states[2, 3]]
    np.testing.assert_array_equal(pool(hidden, mask, "last"), last)
    np.testing.assert_array_equal(pool(hidden, mask, "cls"), states[:, 0])


def test_a_decoder_pools_its_last_token_unless_told(encoder_folders):
    assert load_encoder(encoder_folders["bert"]).pooling == "mean"
    assert load_encoder(encoder_folders["gpt2"]).pooling == "last"
    assert load_encoder(encoder_folders["gpt2"], "mean").pooling == "mean"
    message = "pooling is 'cls', and the first token of gpt2 sees no other; allowed: last, mean"
    with pytest.raises(EncoderError, match=message):
        load_encoder(encoder_folders["gpt2"], "cls")
