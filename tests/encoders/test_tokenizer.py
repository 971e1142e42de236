"""The tokenizer of an encoder's folder: there and usable, or named."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from benchmarks.toy.encoder import tiny_config
from fishpal.common.errors import EncoderError, FishpalWarning
from fishpal.encoders.tokenizer import load_tokenizer
from tests.tasks.data_helpers import save_tokenizer


def test_unusable_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="none: is no folder"):
        load_tokenizer(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(EncoderError, match="empty: no usable tokenizer"):
        load_tokenizer(tmp_path / "empty")
    broken = save_tokenizer(tmp_path / "broken")
    (broken / "tokenizer.json").write_text('{"version": 1}')
    with pytest.raises(EncoderError, match="broken: no usable tokenizer"):
        load_tokenizer(broken)
    bare = save_tokenizer(tmp_path / "bare", pad_token=None)
    with pytest.raises(EncoderError, match="bare: tokenizer has no pad token"):
        load_tokenizer(bare)


def test_a_decoders_tokenizer_pads_with_the_end_of_text(tmp_path: Path) -> None:
    folder = save_tokenizer(tmp_path, pad_token=None, eos_token="[SEP]")
    assert load_tokenizer(folder).pad_token_id == load_tokenizer(folder).eos_token_id == 3


def test_texts_are_cut_as_the_file_says(tmp_path: Path) -> None:
    """transformers rebuilds some types' tokenizers of its own idea of them, as qwen2's."""
    folder = save_tokenizer(tmp_path)
    (folder / "config.json").write_text(tiny_config("qwen2").to_json_string())
    with pytest.warns(FishpalWarning, match="makes another .* texts are cut as the file says"):
        found = load_tokenizer(folder)
    written = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in ("w1 w2 w3", "w9"):
        assert found(text)["input_ids"] == written.encode(text).ids
    assert found.pad_token == "[PAD]"


def test_texts_are_lowered_where_sentence_transformers_would(tmp_path: Path) -> None:
    """As its `do_lower_case` says, of a tokenizer that itself keeps capitals."""
    folder = save_tokenizer(tmp_path)
    texts = ("W1 w2 [SEP] W3", "w1 w2 [SEP] w3")
    for lowered in (False, True):
        (folder / "sentence_bert_config.json").write_text(json.dumps({"do_lower_case": lowered}))
        found, same = (load_tokenizer(folder)(text)["input_ids"] for text in texts)
        assert (found == same) is lowered
    load_tokenizer(folder).save_pretrained(tmp_path / "saved")
    assert load_tokenizer(tmp_path / "saved")(texts[0])["input_ids"] == same


def test_how_a_file_cuts_and_pads_makes_no_other_tokenizer(tmp_path: Path) -> None:
    """As in all-MiniLM-L6-v2's: to 128 tokens."""
    folder = save_tokenizer(tmp_path)
    path = str(folder / "tokenizer.json")
    written = Tokenizer.from_file(path)
    written.enable_padding(length=9)
    written.enable_truncation(5)
    written.save(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FishpalWarning)
        load_tokenizer(folder)


def test_a_pad_token_that_the_encoder_does_not_embed(tmp_path: Path) -> None:
    """Added to the tokenizer alone, as for decoders: the end of text pads, or it is refused."""
    for name, end in (("ended", "[SEP]"), ("endless", None), ("beyond", "[END]")):
        save_tokenizer(tmp_path / name, pad_token="[NEW]", eos_token=end)
    with pytest.warns(
        FishpalWarning, match="ended: tokenizer's pad token has id 40, but embedded are 0"
    ):
        assert load_tokenizer(tmp_path / "ended").pad_token_id == 3
    for name in ("endless", "beyond"):
        with pytest.raises(EncoderError, match=f"{name}: .* has id 4.; allowed: .* id below 40"):
            load_tokenizer(tmp_path / name)
