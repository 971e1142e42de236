"""Tiny random encoders of every type, and a tokenizer over w0, w1, …"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

HIDDEN, LAYERS, VOCAB = 16, 3, 40
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
WORDS = tuple(f"w{number}" for number in range(VOCAB - len(SPECIAL)))
COMMON = {
    "vocab_size": VOCAB,
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
    "initializer_range": 0.3,  # large, so that every part of the network matters
    "pad_token_id": 0,
}
DISTIL = {
    "vocab_size": VOCAB,
    "dim": HIDDEN,
    "n_layers": LAYERS,
    "n_heads": 2,
    "hidden_dim": 24,
    "max_position_embeddings": 40,
    "initializer_range": 0.3,
    "pad_token_id": 0,
}
MODERN = {"local_attention": 4, "global_attn_every_n_layers": 2, "bos_token_id": 1,
          "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}  # fmt: skip
DEBERTA = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "share_att_key": True,
           "position_buckets": 4, "norm_rel_ebd": "layer_norm", "type_vocab_size": 0,
           "position_biased_input": False}  # as in deberta-v3  # fmt: skip


def tiny_config(kind: str) -> Any:
    """A config of an encoder type, a few thousand parameters large."""
    options: dict[str, Any] = DISTIL if kind == "distilbert" else COMMON
    if kind == "modernbert":
        options = COMMON | MODERN
    if kind == "deberta-v2":
        options = COMMON | DEBERTA
    if kind == "electra":
        options = COMMON | {"embedding_size": 8}
    return AutoConfig.for_model(kind, **options)


def tiny_folder(kind: str, folder: Path, seed: int = 0) -> Path:
    """A random encoder as `save_pretrained` writes it."""
    torch.manual_seed(seed)
    AutoModel.from_config(tiny_config(kind)).save_pretrained(folder)
    return folder


def save_tokenizer(folder: Path, **options: Any) -> Path:
    """A fast tokenizer over `WORDS`, `[CLS] a [SEP] b [SEP]`; `options` as the class takes them."""
    vocabulary = {word: number for number, word in enumerate(SPECIAL + WORDS)}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")],
    )
    names = {name.strip("[]").lower() + "_token": name for name in SPECIAL}
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    options = {**names, "model_input_names": inputs, **options}
    PreTrainedTokenizerFast(tokenizer_object=core, **options).save_pretrained(folder)
    return folder
