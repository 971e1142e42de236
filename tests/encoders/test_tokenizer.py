"""The tokenizer of an encoder's folder: there and usable, or named."""

from __future__ import annotations

from pathlib import Path

import pytest

from fishpal.common.errors import EncoderError
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
