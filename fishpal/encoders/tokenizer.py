"""The encoder's own tokenizer, out of the encoder's folder."""

import hashlib
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fishpal.common.errors import EncoderError, brief, caution
from fishpal.common.files import read_json
from fishpal.common.validate import decode
from fishpal.encoders.specs import load_config
from fishpal.records.examples import Example
from fishpal.records.facts import Limits

# Truncation is a state of the tokenizer, which threads that cut at different lengths would change
# under each other.
_ONE_AT_A_TIME = threading.Lock()
FILE = "tokenizer.json"
OTHERS = "sentence_bert_config.json"  # that of sentence-transformers
WORDS = 64  # of a vocabulary, evenly
PROBE = ("a Bé, 12", "b")  # pieces, case, accents, punctuation, and what stands around two texts


def load_tokenizer(folder: str | Path) -> Any:
    """The folder's fast tokenizer; `EncoderError` for none, a slow one or one without padding.

    One that has no pad token, as many decoders', or one that the encoder of the same folder has no
    embedding of, pads with the end of text.
    """
    from transformers import AutoTokenizer  # here: slow to import

    folder = Path(folder)
    if not folder.is_dir():
        raise EncoderError(f"{folder}: is no folder; allowed: one with a tokenizer's files")
    own = {"local_files_only": True, "trust_remote_code": False}  # the default asks on a terminal
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **own)
    except Exception as error:  # a broken tokenizer.json surfaces as a bare Exception
        raise EncoderError(f"{folder}: no usable tokenizer: {brief(error, 160)}") from error
    tokenizer = _as_written(tokenizer, folder, own)
    if len(tokenizer) <= len(tokenizer.all_special_tokens):
        # transformers makes one without words where the vocabulary's file is missing
        raise EncoderError(f"{folder}: tokenizer has no vocabulary; allowed: tokenizer.json")
    if not tokenizer.is_fast:
        raise EncoderError(f"{folder}: tokenizer is slow; allowed: fast ones (tokenizer.json)")
    _check_pad(tokenizer, folder)
    _lower(tokenizer, folder)
    return tokenizer


def _as_written(tokenizer: Any, folder: Path, own: dict[str, Any]) -> Any:
    """The tokenizer, or that of tokenizer.json as it stands, where the two cut texts otherwise.

    transformers rebuilds some types' from the vocabulary and its own idea of the rest.
    """
    from tokenizers import Tokenizer  # here: slow to import
    from transformers import PreTrainedTokenizerFast

    path = folder / FILE
    if not (path.is_file() and tokenizer.is_fast):
        return tokenizer
    try:
        written = Tokenizer.from_file(str(path))
    except Exception:  # transformers read it, or did without
        return tokenizer
    written.no_truncation()
    written.no_padding()
    size, special = written.get_vocab_size(), set(tokenizer.all_special_tokens)
    known = map(written.id_to_token, range(0, size, max(1, size // WORDS)))
    for text in (*PROBE, " ".join(word for word in known if word and word not in special)):
        found = tokenizer.encode(text, add_special_tokens=False)
        if found != written.encode(text, add_special_tokens=False).ids:
            what = f"transformers makes another {type(tokenizer).__name__} of it"
            caution(f"{path}: {what}: texts are cut as the file says")
            return PreTrainedTokenizerFast.from_pretrained(folder, **own)
    return tokenizer


def _lower(tokenizer: Any, folder: Path) -> None:
    """Let it lower all texts first, where sentence-transformers' file says that they are to be."""
    from tokenizers import normalizers  # here: slow to import

    path = folder / OTHERS
    content = decode(dict[str, Any], read_json(path), str(path)) if path.is_file() else {}
    if content.get("do_lower_case") is True:
        backend = tokenizer.backend_tokenizer
        own = [] if backend.normalizer is None else [backend.normalizer]
        backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *own])


def _check_pad(tokenizer: Any, folder: Path) -> None:
    """Let the end of text pad where the tokenizer's own token cannot: the mask hides either.

    A pad token that somebody added later has an id that the encoder never got an embedding for.
    """
    config = load_config(folder) if (folder / "config.json").is_file() else None
    embedded = int(getattr(config, "vocab_size", len(tokenizer)))
    pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
    if pad is not None and pad < embedded:
        return
    found = "tokenizer has no pad token" if pad is None else f"tokenizer's pad token has id {pad}"
    if end is None or end >= embedded:
        allowed = f"one with a pad or an end-of-text token, of an id below {embedded}"
        raise EncoderError(f"{folder}: {found}; allowed: {allowed}")
    if pad is not None:
        caution(f"{folder}: {found}, but embedded are 0 to {embedded - 1}: the end of text pads")
    tokenizer.pad_token = tokenizer.eos_token


def encode(tokenizer: Any, columns: Sequence[list[str]], max_length: int, limits: Limits) -> Any:
    """Token ids, and token types where tokenizer and encoder have them, of texts or pairs; of
    pairs also `second`, where the second text starts.

    Args:
        columns: the texts, or the first and the second texts of pairs.
        max_length: tokens that a text or pair is cut to, the longer text first.
    """
    # One type is no type: the encoder adds the same to every token.
    typed = "token_type_ids" in tokenizer.model_input_names and limits.types > 1
    with _ONE_AT_A_TIME:
        encoded = tokenizer(
            *columns,
            truncation="longest_first",
            max_length=max_length,
            padding=False,
            return_token_type_ids=typed,
            return_attention_mask=False,
        )
    if len(columns) == 2:
        encoded["second"] = [_second(each.sequence_ids) for each in encoded.encodings]
    return encoded


def unread_of(tokenizer: Any, ids: Sequence[Sequence[int]]) -> int:
    """How many of these token ids (n, T) hold no token but special ones, the unknown among them."""
    special = frozenset(tokenizer.all_special_ids)
    return sum(map(special.issuperset, ids))


def digest_of(tokenizer: Any) -> str:
    """SHA-256 of a tokenizer's vocabulary and of how it cuts and joins a pair of texts."""
    ids = tokenizer(*PROBE)["input_ids"]
    known = json.dumps([sorted(tokenizer.get_vocab().items()), ids])
    return hashlib.sha256(known.encode()).hexdigest()


def readable(max_length: int, limits: Limits) -> int:
    """`max_length`, or as many tokens as the encoder reads."""
    return max_length if limits.tokens is None else min(max_length, limits.tokens)


def _second(sequences: list[int | None]) -> int:
    """The first token of the second text; after the last where cutting left none."""
    return sequences.index(1) if 1 in sequences else len(sequences)


def examples_of(encoded: Any, labels: Sequence[int] | Sequence[float]) -> list[Example]:
    """What `encode` gave, with labels, as examples in memory."""
    none = [None] * len(labels)
    others = (encoded.get(name) or none for name in ("token_type_ids", "second"))
    columns = zip(encoded["input_ids"], labels, *others, strict=True)
    return [Example(*columns_of_one) for columns_of_one in columns]
