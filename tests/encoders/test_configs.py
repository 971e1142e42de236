"""Configs that leave something out, or ask for something else: they work, or say what lacks."""

from __future__ import annotations

import json
import shutil
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file

from fishpal.common.errors import EncoderError, FishpalWarning
from fishpal.encoders.encoder import load_encoder
from fishpal.models.batching import collate
from tests.conftest import random_examples


@pytest.fixture
def changed(encoder_folders, tmp_path):
    """`changed(type, key=value, …)`: a tiny encoder's folder with this in its config."""

    def change(kind, **keys):
        folder = shutil.copytree(encoder_folders[kind], tmp_path / kind)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | keys))
        return folder

    return change


@pytest.mark.parametrize("kind", ["bert", "modernbert", "deberta-v2", "gpt2"])
def test_one_that_asks_for_tuples(changed, tiny_encoder, kind):
    batch = collate(random_examples(5), pad_id=0)
    del batch["labels"]
    found = load_encoder(changed(kind, return_dict=False)).hidden_states(**batch)
    assert torch.equal(found, tiny_encoder(kind).hidden_states(**batch))


@pytest.mark.parametrize("kind", ["bert", "roberta", "electra"])
def test_one_whose_tokens_see_what_precedes_them_alone(changed, kind):
    folder = changed(kind, is_decoder=True)
    with pytest.raises(EncoderError, match="first token of .* sees no other; allowed: last, mean"):
        load_encoder(folder, "cls")
    assert load_encoder(folder).pooling == "last"


def test_a_decoder_whose_tokens_see_all(changed):
    folder = changed("gemma3_text", use_bidirectional_attention=True)
    assert load_encoder(folder).pooling == "mean"
    assert load_encoder(folder, "cls").pooling == "cls"


def test_one_with_cross_attention_is_refused(changed):
    with pytest.raises(EncoderError, match="add_cross_attention is true; allowed: false"):
        load_encoder(changed("bert", is_decoder=True, add_cross_attention=True))


@pytest.mark.parametrize("pad", [0, 1, 3, None])
def test_mpnet_counts_positions_from_1_whatever_its_pad_token(changed, pad):
    encoder = load_encoder(changed("mpnet", pad_token_id=pad))
    longest = encoder.limits.tokens
    assert longest == 40 - 2
    ids = torch.full((1, longest), 5)
    assert torch.isfinite(encoder.hidden_states(ids, torch.ones_like(ids))).all()
    more = torch.full((1, longest + 1), 5)
    with pytest.raises(IndexError):
        encoder.hidden_states(more, torch.ones_like(more))


def test_an_adapter_beside_the_encoder_is_refused(encoder_folders, tmp_path):
    folder = shutil.copytree(encoder_folders["bert"], tmp_path / "bert")
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(EncoderError, match="has adapter_config.json; allowed: an encoder merged"):
        load_encoder(folder)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("attention.self.distance_embedding.weight", (79, 8)), ("output.dense.weight_scale", (1,))],
)
def test_weights_of_layers_that_the_model_does_not_take_are_named(changed, name, shape):
    """What transformers no longer computes, as relative positions, or not in this way."""
    folder = changed("bert")
    weights = load_file(folder / "model.safetensors")
    weights["cls.predictions.bias"] = torch.zeros(40)  # a head's, which nobody misses
    weights["encoder.layer.0.attention.masked_bias"] = torch.zeros(())  # of older versions
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with warnings.catch_warnings():
        warnings.simplefilter("error", FishpalWarning)
        load_encoder(folder)
    weights |= {f"encoder.layer.{layer}.{name}": torch.ones(shape) for layer in range(3)}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.warns(
        FishpalWarning, match=f"3 weights of layers .* first 'encoder.layer.0.{name}"
    ):
        load_encoder(folder)
    with pytest.warns(FishpalWarning, match="weights of layers have no place"):
        load_encoder(changed("gpt2", n_layer=2))


@pytest.mark.parametrize("kind", ["roberta", "xlm-roberta", "camembert"])
def test_one_that_has_no_pad_token_to_count_positions_from(changed, kind):
    with pytest.raises(EncoderError) as caught:
        load_encoder(changed(kind, pad_token_id=None))
    said = f"pad_token_id is null, which {kind} counts positions from; allowed: the id of its pad"
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("rope", ["dynamic", "longrope"])
def test_positions_that_follow_the_longest_text_are_refused(changed, rope):
    factors = {"short_factor": [1.0, 1.0], "long_factor": [2.0, 2.0]} if rope == "longrope" else {}
    positions = {"rope_type": rope, "factor": 2.0, "rope_theta": 1e4} | factors
    with pytest.raises(EncoderError, match=f"rope_type is '{rope}', by which the longest text"):
        load_encoder(changed("llama", rope_parameters=positions))


def test_chunks_of_the_feed_forward_block_are_left_out(changed, tiny_encoder):
    batch = collate(random_examples(5), pad_id=0)
    del batch["labels"]
    found = load_encoder(changed("bert", chunk_size_feed_forward=3))
    assert found.model.config.chunk_size_feed_forward == 0
    assert torch.equal(found.hidden_states(**batch), tiny_encoder("bert").hidden_states(**batch))
