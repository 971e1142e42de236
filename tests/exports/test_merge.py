"""Merging into the encoder, for good."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fishpal
from tests.exports.conftest import TEXTS


@pytest.mark.parametrize("kind", ["bert", "modernbert", "llama", "gpt2"])
@pytest.mark.parametrize("word", ["lora+ia3", "prefix+lora+ia3", "lora"])
@pytest.mark.parametrize("gates", [True, False], ids=["gated", "plain"])
def test_merged_modules_give_the_same_logits(make, kind, word, gates):
    """Where a gated LoRA stays, so does the (IA)³ that scales what it adds to."""
    pooling = "last" if kind in ("llama", "gpt2") else "mean"
    model = make(kind, pooling, kinds=(word, "ia3", word), gates=gates)
    expected = model.logits(TEXTS)
    merged = model.copy(full=True)
    fishpal.merge_lora(merged.module)
    np.testing.assert_allclose(merged.logits(TEXTS), expected, atol=2e-4)
    left = {(module.layer, str(module.kind)) for module in merged.module.candidates()}
    assert (1, "ia3") not in left
    assert ((0, "lora") in left) == gates and ((0, "ia3") in left) == (gates and "ia3" in word)
    assert np.array_equal(model.logits(TEXTS), expected), "the copy's weights are its own"


def test_a_callers_autocast_rounds_nothing_for_good(make):
    model = make("bert", "mean", kinds=("lora", "ia3", "lora"), gates=False)
    merged, plain = model.copy(full=True), model.copy(full=True)
    fishpal.merge_lora(plain.module)
    with torch.autocast("cpu", torch.bfloat16):
        fishpal.merge_lora(merged.module)
    assert np.array_equal(merged.logits(TEXTS), plain.logits(TEXTS))
