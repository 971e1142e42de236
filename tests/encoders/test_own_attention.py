"""Rewritten attention: the same bits as the model's own, without a prefix."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoConfig, AutoModel

from benchmarks.toy.encoder import COMMON, DEBERTA
from fishpal.encoders.encoder import Encoder
from fishpal.models.batching import collate
from tests.conftest import random_examples

RELATIVE = {"relative_attention": True, "norm_rel_ebd": "layer_norm"}
CASES = {
    "mpnet": ("mpnet", {}),
    "deberta-v3": ("deberta-v2", DEBERTA),
    "absolute": ("deberta-v2", {}),
    "apart": ("deberta-v2", DEBERTA | {"share_att_key": False}),
    "c2p": ("deberta-v2", RELATIVE | {"pos_att_type": ["c2p"]}),
    "p2c": ("deberta-v2", RELATIVE | {"pos_att_type": ["p2c"], "position_buckets": 4}),
    "no positions": ("deberta-v2", RELATIVE),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("train", [False, True], ids=["eval", "dropout"])
def test_same_bits_as_the_models_own(case, train):
    kind, options = CASES[case]
    torch.manual_seed(0)
    model = AutoModel.from_config(AutoConfig.for_model(kind, **COMMON | options)).train(train)
    batch = collate(random_examples(6), pad_id=0)
    del batch["labels"]

    def states():  # type: ignore[no-untyped-def]
        torch.manual_seed(1)
        return model.train(train)(**batch, output_attentions=True)

    own = states()
    Encoder.of(model)
    ours = states()
    assert torch.equal(ours.last_hidden_state, own.last_hidden_state)
    for mine, theirs in zip(ours.attentions, own.attentions, strict=True):
        assert torch.equal(mine, theirs)
