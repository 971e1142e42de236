"""Pooling: which hidden states make the vector of a text."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from fishpal.common.errors import EncoderError, FishpalWarning
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
    first = [states[0, 0], states[1, 0], states[2, 2]]
    np.testing.assert_array_equal(pool(hidden, mask, "cls"), first)


def test_a_decoder_pools_its_last_token_unless_told(encoder_folders):
    assert load_encoder(encoder_folders["bert"]).pooling == "mean"
    assert load_encoder(encoder_folders["gpt2"]).pooling == "last"
    assert load_encoder(encoder_folders["gpt2"], "mean").pooling == "mean"
    message = "pooling is 'cls', and the first token of gpt2 sees no other; allowed: last, mean"
    with pytest.raises(EncoderError, match=message):
        load_encoder(encoder_folders["gpt2"], "cls")


@pytest.mark.parametrize(
    ("modes", "wanted"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode": "cls", "include_prompt": True}, "cls"),  # since version 6
        ({"pooling_mode": ["lasttoken"], "embedding_dimension": 16}, "last"),
        ({"word_embedding_dimension": 16}, "mean"),
    ],
)
def test_sentence_transformers_file_says_how(encoder_folders, tmp_path, modes, wanted):
    folder = shutil.copytree(encoder_folders["bert"], tmp_path / "encoder")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps(modes))
    assert load_encoder(folder).pooling == wanted
    if wanted != "mean":
        with pytest.warns(
            FishpalWarning, match=f"pooling is mean, and the folder's own says {wanted}"
        ):
            assert load_encoder(folder, "mean").pooling == "mean"


@pytest.mark.parametrize(
    ("modes", "named"),
    [
        ({"pooling_mode_max_tokens": True}, "max_tokens"),
        ({"pooling_mode": "weightedmean"}, "weightedmean"),
        ({"pooling_mode": ["cls", "mean"]}, "cls, mean"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, "cls_token, mean_to"),
    ],
)
def test_a_way_of_pooling_that_there_is_not_is_named(encoder_folders, tmp_path, modes, named):
    folder = shutil.copytree(encoder_folders["bert"], tmp_path / "encoder")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps(modes))
    with pytest.warns(
        FishpalWarning, match=f"pools by {named}.*, which is none of mean, cls, last"
    ):
        assert load_encoder(folder).pooling == "mean"  # the type's own
