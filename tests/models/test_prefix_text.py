"""Prefixes that start from text: whose text, and that it is as if that stood in front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import peft
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForCausalLM, PreTrainedTokenizerFast

from benchmarks.toy.encoder import WORDS, save_tokenizer, tiny_config
from fishpal.common.errors import AttachError, DataError, ParamsError
from fishpal.encoders.encoder import load_encoder
from fishpal.models.head import start_head
from fishpal.models.planned import plan_model
from fishpal.models.predict import predict
from fishpal.models.prefix_text import text_of
from fishpal.models.trained import load, save
from fishpal.modules.attach import candidate_generator
from fishpal.params.module_options import ModuleOptions, PrefixOptions
from fishpal.params.options import HeadOptions, TrainOptions
from fishpal.records.examples import Example
from fishpal.records.plan import Plan, Reason
from fishpal.records.task import TokenisedTask
from fishpal.training.train import train
from tests.conftest import (
    DECODERS,
    EVERY_TYPE,
    HIDDEN,
    LAYERS,
    TYPES,
    random_examples,
    task_facts,
)

TASK = TokenisedTask(task_facts(), random_examples(16), random_examples(8, seed=1))


class Untouchable(Sequence[Example]):
    """Rows that nobody may read."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, _):  # type: ignore[no-untyped-def]
        raise AssertionError("read")


def options_of(length: int, **options) -> ModuleOptions:  # type: ignore[no-untyped-def]
    return ModuleOptions(prefix=PrefixOptions(length=length, start="text", **options))


def started(encoder, length=2, layers=("prefix",) * LAYERS, modules=None, seed=0, task=TASK):  # type: ignore[no-untyped-def]
    modules = modules or options_of(length)
    plan = Plan("toy", "m", encoder.facts, layers, Reason("x"), modules=modules)
    head = start_head(encoder, TASK, HeadOptions())
    return plan_model(encoder, head, plan, seed, task=task).eval(), plan


def keys_of(model):  # type: ignore[no-untyped-def]
    return [module.key.detach().clone() for module in model.candidates()]


@torch.no_grad()
@pytest.mark.parametrize("kind", DECODERS)
def test_a_decoder_begins_as_if_the_text_stood_in_front(tiny_encoder, encoder_folders, kind):
    """Text and input in one, by transformers alone; GPT-2's positions count anew."""
    encoder = tiny_encoder(kind)
    started(encoder)
    own = AutoModel.from_pretrained(encoder_folders[kind], attn_implementation="eager").eval()
    text, rows = text_of(TASK, 2, 0).input_ids, torch.tensor([[7, 9], [30, 4]])
    both = torch.cat([torch.tensor([text, text]), rows], dim=1)  # a window of 4 holds all of it
    anew = {"position_ids": torch.tensor([[0, 1, 0, 1]])} if kind == "gpt2" else {}
    expected = own(both, **anew).last_hidden_state[:, 2:]
    found = encoder.hidden_states(rows, torch.ones_like(rows))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["bert", "electra", "distilbert", "roberta"])
def test_an_encoder_begins_as_if_a_text_stood_in_front_that_sees_itself_alone(
    tiny_encoder, encoder_folders, kind
):
    encoder = tiny_encoder(kind)
    started(encoder)
    own = AutoModel.from_pretrained(encoder_folders[kind], attn_implementation="eager").eval()
    text, row = text_of(TASK, 2, 0).input_ids, [7, 9]
    visible = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    visible[..., :2, 2:] = False
    mask = torch.zeros(visible.shape).masked_fill(~visible, torch.finfo(torch.float32).min)
    positions = torch.tensor([[0, 1, 0, 1]]) + (kind == "roberta")
    if kind == "distilbert":  # which takes no positions: from their embeddings
        table = own.embeddings.position_embeddings
        words = own.embeddings.word_embeddings(torch.tensor([text + row]))
        given = {"inputs_embeds": words + table(positions) - table(torch.arange(4))[None]}
    else:
        given = {"input_ids": torch.tensor([text + row]), "position_ids": positions}
    expected = own(attention_mask=mask, **given).last_hidden_state[:, 2:]
    found = encoder.hidden_states(torch.tensor([row]), torch.ones(1, 2, dtype=torch.int64))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_it_equals_peft(tmp_path, kind):
    """The same start where positions are learned; the same logits where they are rotations."""
    torch.manual_seed(0)
    theirs = AutoModelForCausalLM.from_config(tiny_config(kind)).eval()
    theirs.base_model.save_pretrained(tmp_path)
    encoder = load_encoder(tmp_path)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(save_tokenizer(tmp_path / "tokenizer"))
    words = " ".join(WORDS[i] for i in (3, 14, 15, 9, 2))
    ids = tokenizer(words)["input_ids"]
    task = TokenisedTask(task_facts(), [Example(ids, 0)])
    model, _ = started(encoder, length=4, task=task)
    row, output = torch.tensor([[7, 9, 11]]), theirs.get_output_embeddings()
    ours = output(encoder.hidden_states(row, torch.ones_like(row)))
    config = peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
    theirs = peft.get_peft_model(theirs, config).eval()
    peft.initialize_kv_prefix_from_text(theirs, tokenizer, text=words, use_chat_template=False)
    if kind == "llama":
        torch.testing.assert_close(ours, theirs(row).logits, rtol=1e-4, atol=1e-5)
    found = theirs.prompt_encoder["default"].embedding.weight.unflatten(-1, (LAYERS, 2, -1))
    for module in model.candidates():
        torch.testing.assert_close(module.value, found[:, module.layer, 1])
        if kind == "gpt2":
            torch.testing.assert_close(module.key, found[:, module.layer, 0])


def test_the_text_is_of_fit_rows_in_an_order_by_the_seed():
    whole = sum(len(example.input_ids) for example in TASK.fit)
    texts = {seed: text_of(TASK, whole, seed).input_ids for seed in range(3)}
    assert len({tuple(ids) for ids in texts.values()}) == 3
    for ids in texts.values():
        rows = [example.input_ids for example in TASK.fit]
        while ids:  # every row once, as it is
            row = next(row for row in rows if ids[: len(row)] == row)
            rows.remove(row)
            ids = ids[len(row) :]
        assert rows == []
    assert text_of(TASK, 7, 1).input_ids == texts[1][:7]
    typed = [Example([4, 5], 0, [0, 1]), Example([6, 7], 1, [0, 1])]
    assert text_of(TokenisedTask(task_facts(), typed), 3, 0).token_type_ids == [0, 1, 0]
    assert text_of(TASK, 3, 0).token_type_ids is None


def test_the_selection_part_is_not_read(tiny_encoder):
    hidden = replace(TASK, selection=Untouchable())
    ours, theirs = (started(tiny_encoder(), task=task)[0] for task in (hidden, TASK))
    assert all(map(torch.equal, keys_of(ours), keys_of(theirs)))
    fewer = replace(TASK, fit=TASK.fit[1:])
    assert not torch.equal(keys_of(started(tiny_encoder(), 9, task=fewer)[0])[0],
                           keys_of(started(tiny_encoder(), 9)[0])[0])  # fmt: skip


def test_token_types_are_the_texts_own(tiny_encoder):
    pairs = [Example([4, 5, 6], 0, [0, 1, 1])]
    ours = started(tiny_encoder(), 3, task=TokenisedTask(task_facts(), pairs))[0]
    plain = [replace(pairs[0], token_type_ids=None)]
    other = started(tiny_encoder(), 3, task=TokenisedTask(task_facts(), plain))[0]
    first, second = keys_of(ours)[0], keys_of(other)[0]
    assert torch.equal(first[0], second[0]) and not torch.allclose(first[1:], second[1:])


@pytest.mark.parametrize("kind", EVERY_TYPE)
def test_lengths_start_alike_whatever_else_is_there(tiny_encoder, kind):
    """Each from a pass of its own, and by the seed; the encoder alone decides, never modules."""
    mixed = ("prefix-2+lora", "prefix-5", "adapter+prefix-2")
    model, _ = started(tiny_encoder(kind), 3, mixed)
    found = [module.key.detach() for module in model.candidates() if module.kind == "prefix"]
    short, long = (keys_of(started(tiny_encoder(kind), length)[0]) for length in (2, 5))
    assert all(map(torch.equal, found, (short[0], long[1], short[2])))
    other = keys_of(started(tiny_encoder(kind), 5, seed=1)[0])
    assert not any(map(torch.equal, other, long))


def test_a_gate_starts_as_it_does_without_text(tiny_encoder):
    """And the random start is what it was before there was another."""
    gated = {start: replace(options_of(4), gates=True, prefix=PrefixOptions(4, start=start))
             for start in ("text", "random")}  # fmt: skip
    models = {k: started(tiny_encoder(), modules=v, seed=3)[0] for k, v in gated.items()}
    bare = keys_of(started(tiny_encoder(), 4, seed=3)[0])
    for text, random in zip(models["text"].candidates(), models["random"].candidates(),
                            strict=True):  # fmt: skip
        assert torch.equal(text.gate.weight, random.gate.weight)
        assert torch.equal(text.key, bare[text.layer]) and not torch.equal(text.key, random.key)
        generator = candidate_generator(3, text.layer, text.kind)
        drawn = torch.empty(2, 4, HIDDEN).normal_(0, 0.02, generator=generator)
        assert torch.equal(torch.stack([random.key, random.value]), drawn)
    with torch.no_grad():
        assert models["text"](torch.tensor([[5, 6]]), torch.ones(1, 2)).isfinite().all()


@pytest.mark.parametrize("kind", [*TYPES[:1], "modernbert", "mpnet", "qwen3"])
def test_trained_saved_and_loaded_without_a_text(tiny_encoder, tmp_path, kind):
    logits, files = [], []
    for name in ("a", "b"):
        model, plan = started(tiny_encoder(kind), 4)
        options = TrainOptions(epochs=1, batch_size=4, device="cpu")
        train(model, plan, TASK, options, 0, progress=False)
        save(model, plan, tmp_path / name, task=TASK.facts, seed=0, best=1)
        logits.append(predict(model, TASK.selection, TASK.facts))
        files.append((tmp_path / name / "modules.safetensors").read_bytes())
    assert files[0] == files[1], "the same params give the same bytes"
    again = load(tiny_encoder(kind), tmp_path / "a")
    assert (predict(again, TASK.selection, TASK.facts) == logits[0]).all()
    start = keys_of(started(tiny_encoder(kind), 4)[0])[0]
    kept = load_file(tmp_path / "a/modules.safetensors")["0.prefix.key"]
    assert not torch.equal(kept, start) and torch.allclose(kept, start, atol=0.5)


def test_what_cannot_start_from_text_is_refused(tiny_encoder):
    with pytest.raises(ParamsError, match="start is text; allowed: random where reparameterize"):
        PrefixOptions(reparameterize=True, start="text")
    with pytest.raises(ParamsError, match="start is 'txet'.*did you mean 'text'.*random, text"):
        PrefixOptions(start="txet")
    with pytest.raises(AttachError, match="start is text, and no task is given; allowed: with"):
        started(tiny_encoder(), task=None)
    with pytest.raises(AttachError, match=r"prefix.length is 41, .*; allowed: 1 to 40, the tokens"):
        started(tiny_encoder(), 41)
    started(tiny_encoder(), 40)
    with pytest.raises(AttachError, match=r"allowed: 1 to 39"):
        started(tiny_encoder("roberta"), 40)
    started(tiny_encoder("llama"), 60)  # rotations have no last position
    few = replace(TASK, fit=[Example([4, 5, 6], 0), Example([7], 1)])
    started(tiny_encoder(), 4, task=few)
    with pytest.raises(DataError, match=r"toy: fit has 4 tokens, .*; allowed: at least .*, 5"):
        started(tiny_encoder(), 5, task=few)
    foreign = replace(TASK, fit=[Example([4, 4000], 0)])
    with pytest.raises(DataError, match="fit: row 0: token ids go from 4 to 4000"):
        started(tiny_encoder(), 2, task=foreign)


def test_the_start_is_of_the_encoder_as_loaded(tiny_encoder):
    """Also where its model is training, as in a measurement with dropout."""
    encoder = tiny_encoder()
    before = keys_of(started(tiny_encoder())[0])
    encoder.model.train()
    assert all(map(torch.equal, keys_of(started(encoder)[0]), before))
