"""Prefixes that start from text: `modules.prefix.start: text`.

A prefix stands where the keys and values of a text in front would; it starts from those that the
frozen encoder itself computes for a text of the task ("activations of real words", Li & Liang 2021,
on initialization; peft's `initialize_kv_prefix_from_text`). With one at every layer, the first
forward of a decoder that rotates is that of text and input in one, local windows aside: keys are
rotated as of positions −p to −1 (`Encoder.keys_values`). Of one with learned positions it is that,
too, but that the input's count from 0 again. In an encoder that sees both ways the text does not
see the input.
"""

from collections.abc import Sequence

import numpy as np

from fishpal.common.errors import AttachError, DataError
from fishpal.encoders.attention import KeysValues
from fishpal.encoders.encoder import Encoder
from fishpal.models.batching import collate
from fishpal.modules import CandidateModule, Prefix
from fishpal.records.examples import Example, check_examples
from fishpal.records.task import TokenisedTask

KEY = "modules.prefix.start is text"


def start_prefixes(
    modules: Sequence[CandidateModule], encoder: Encoder, task: TokenisedTask | None, seed: int
) -> None:
    """Give fresh prefixes that start from text their start; nothing to do for other modules.

    Every length takes a forward pass of its own, over as many tokens of one text: a prefix starts
    the same whatever else is there.

    Args:
        modules: not attached yet.
        encoder: with nothing attached.
        task: of whose fit part alone the text is (`text_of`).
        seed: which text.

    Raises:
        AttachError: where no task is given, or a length is above what the encoder reads.
        DataError: where the fit part has fewer tokens, or is not what the encoder can read.
    """
    found: dict[int, list[KeysValues]] = {}
    for module in modules:
        if not isinstance(module, Prefix) or not module.starts_from_text:
            continue
        length = len(module.key)
        if length not in found:
            found[length] = _keys_values(encoder, task, length, seed)
        module.start_from(*found[length][module.layer])


def _keys_values(
    encoder: Encoder, task: TokenisedTask | None, length: int, seed: int
) -> list[KeysValues]:
    """Every layer's, (length, d) each."""
    if task is None:
        raise AttachError(f"{KEY}, and no task is given; allowed: with `task`, whose text it is")
    most = encoder.limits.tokens
    if most is not None and length > most:
        what = f"modules.prefix.length is {length}, and start is text"
        raise AttachError(f"{what}; allowed: 1 to {most}, the tokens that the encoder reads")
    check_examples(task.fit, task.facts, encoder.limits, "fit")
    batch = collate([text_of(task, length, seed)], task.facts.pad_id)
    device = next(encoder.model.parameters()).device
    names = [name for name in batch if name not in ("labels", "attention_mask")]
    return encoder.keys_values(**{name: batch[name].to(device) for name in names})


def text_of(task: TokenisedTask, length: int, seed: int) -> Example:
    """The first `length` tokens of the fit part's examples, joined in an order by `seed`.

    So the shorter of two texts begins the longer. Special tokens stay, as the encoder reads them.

    Raises:
        DataError: where the fit part has fewer tokens: repeating them would give positions that
            start alike.
    """
    ids: list[int] = []
    types: list[int] = []
    for row in np.random.default_rng(seed).permutation(len(task.fit)).tolist():
        example = task.fit[row]
        ids += example.input_ids
        types += example.token_type_ids or [0] * len(example.input_ids)
        if len(ids) >= length:
            typed = example.token_type_ids is not None
            return Example(ids[:length], 0, types[:length] if typed else None)
    what = f"task {task.facts.name}: fit has {len(ids)} tokens, and {KEY}"
    raise DataError(f"{what}; allowed: at least modules.prefix.length, {length}")
