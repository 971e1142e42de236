"""Configs that leave something out, or ask for something else: they work, or say what lacks."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from fishpal.common.errors import EncoderError
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


@pytest.mark.parametrize("kind", ["roberta", "xlm-roberta", "camembert"])
def test_one_that_has_no_pad_token_to_count_positions_from(changed, kind):
    with pytest.raises(EncoderError) as caught:
        load_encoder(changed(kind, pad_token_id=None))
    said = f"pad_token_id is null, which {kind} counts positions from; allowed: the id of its pad"
    assert said in str(caught.value) and "\n" not in str(caught.value)
