"""A table's columns of texts, and when two texts are one."""

from collections.abc import Iterable
from unicodedata import normalize

TEXTS = ("text", "text_pair")  # the second one is pairs'


def text_key(texts: Iterable[str]) -> tuple[str, ...]:
    """What a text, or a pair, has in common with those that differ from it in spaces or in their
    Unicode form (NFC, NFD) alone: nearly all tokenizers read these alike."""
    return tuple(" ".join(normalize("NFC", text).split()) for text in texts)
