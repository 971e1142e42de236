"""Texts in one row, against each text by itself in float64."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from fishpal.common.errors import AttachError
from fishpal.common.kinds import ModuleKind, Site
from fishpal.encoders.packing import PACKING
from fishpal.encoders.ports import layers_of, ports_of
from fishpal.models.batching import collate
from fishpal.models.classifier import Classifier, task_loss
from fishpal.models.head import start_head
from fishpal.models.planned import plan_model
from fishpal.params.module_options import AdapterOptions, LoraOptions, ModuleOptions, PrefixOptions
from fishpal.params.options import HeadOptions
from fishpal.records.plan import Plan, Reason
from fishpal.records.task import TokenisedTask
from tests.conftest import EVERY_TYPE, random_examples, task_facts
from tests.modules.test_modules import shake

LAYERS = (ModuleKind.PREFIX, ModuleKind.ADAPTER, ModuleKind.LORA)
EXAMPLES = random_examples(7, seed=3)
ROTATED = {"modernbert", "llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3_text"}
OWN_ATTENTION = {"mpnet", "deberta-v2"}
SIZES = ModuleOptions(
    PrefixOptions(length=3), AdapterOptions(bottleneck=4, placement="parallel"), LoraOptions(rank=2)
)


@pytest.fixture
def model_of(tiny_encoder):
    def make(kind: str, gates: bool = False, layers=LAYERS) -> Classifier:
        encoder = tiny_encoder(kind, double=True)
        modules = ModuleOptions(SIZES.prefix, SIZES.adapter, SIZES.lora, gates=gates)
        plan = Plan("toy", "test", encoder.facts, layers, Reason("uniform"), modules=modules)
        task = TokenisedTask(task_facts(), EXAMPLES, EXAMPLES)
        model = plan_model(encoder, start_head(encoder, task, HeadOptions()), plan, 0).double()
        shake(list(model.candidates()))
        model.train()
        model.encoder.eval()  # as in training, without its own dropout
        return model

    return make


def inputs_of(examples):
    batch = collate(examples, 0)
    return batch, batch.pop("labels")


def gradients(model: Classifier, examples) -> list[torch.Tensor]:
    batch, labels = inputs_of(examples)
    loss = task_loss(model(**batch), labels) * len(examples)
    trained = [p for p in model.parameters() if p.requires_grad]
    return list(torch.autograd.grad(loss, trained))


def seen_by_layers(model: Classifier, examples=EXAMPLES) -> list[tuple[int, ...]]:
    """The shapes of what every layer's feed-forward block gets."""
    shapes: list[tuple[int, ...]] = []
    handles = [
        ports.sites[Site.UP].linear.register_forward_pre_hook(
            lambda _, given: shapes.append(tuple(given[0].shape[:2]))
        )
        for ports in ports_of(model.encoder)
    ]
    model(**inputs_of(examples)[0])
    for handle in handles:
        handle.remove()
    return shapes


@pytest.mark.parametrize("kind", EVERY_TYPE)
def test_logits_and_gradients_are_those_of_each_text_alone(model_of, kind):
    model = model_of(kind)
    alone = [model(**inputs_of([each])[0])[0] for each in EXAMPLES]
    torch.testing.assert_close(model(**inputs_of(EXAMPLES)[0]), torch.stack(alone))
    sums = [sum(parts) for parts in zip(*[gradients(model, [e]) for e in EXAMPLES], strict=True)]
    torch.testing.assert_close(gradients(model, EXAMPLES), sums)


@pytest.mark.parametrize("kind", sorted(set(EVERY_TYPE) - ROTATED - OWN_ATTENTION))
def test_layers_compute_no_padding(model_of, kind):
    model = model_of(kind)
    tokens = sum(len(each.input_ids) for each in EXAMPLES)
    assert seen_by_layers(model) == [(1, tokens)] * 3


@pytest.mark.parametrize("kind", sorted(ROTATED | OWN_ATTENTION))
def test_where_positions_reach_the_layers_texts_stay_apart(model_of, kind):
    longest = max(len(each.input_ids) for each in EXAMPLES)
    assert set(seen_by_layers(model_of(kind))) == {(len(EXAMPLES), longest)}


def test_where_a_gate_takes_a_texts_mean_it_stays_apart(model_of):
    longest = max(len(each.input_ids) for each in EXAMPLES)
    assert set(seen_by_layers(model_of("bert", gates=True))) == {(len(EXAMPLES), longest)}


def test_prediction_checkpointing_and_texts_of_one_length_stay_as_they_are(model_of):
    model, longest = model_of("bert"), max(len(each.input_ids) for each in EXAMPLES)
    apart = {(len(EXAMPLES), longest)}
    assert set(seen_by_layers(model, [EXAMPLES[0]] * 2)) == {(2, len(EXAMPLES[0].input_ids))}
    assert set(seen_by_layers(model.eval())) == apart
    model.train()
    model.encoder.gradient_checkpointing_enable()
    assert set(seen_by_layers(model)) == apart


def test_threads_do_not_take_one_anothers_texts(model_of):
    """Hooks are the model's, a batch its thread's."""
    model = model_of("bert")
    batches = [inputs_of(random_examples(7, seed=seed))[0] for seed in range(4)]
    expected = [model(**batch) for batch in batches]

    def many(number: int) -> bool:
        return all(torch.equal(model(**batches[number]), expected[number]) for _ in range(40))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(many, range(4)))


def test_gates_and_checkpointing_are_told_apart(model_of):
    model = model_of("bert", gates=True)
    model.encoder.gradient_checkpointing_enable()
    with pytest.raises(AttachError, match="gates are open while .*; allowed: one of both"):
        model(**inputs_of(EXAMPLES)[0])
    model.eval()(**inputs_of(EXAMPLES)[0])


@pytest.mark.parametrize("gates", [False, True])
def test_a_compiled_model_computes_the_same(model_of, gates):
    model = model_of("bert", gates=gates, layers=(ModuleKind.PREFIX,) * 3)
    batch, labels = inputs_of(EXAMPLES)
    expected = gradients(model, EXAMPLES)
    compiled = torch.compile(model, backend="eager")
    torch.testing.assert_close(compiled(**batch), model(**batch))
    loss = task_loss(compiled(**batch), labels) * len(EXAMPLES)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    torch.testing.assert_close(list(torch.autograd.grad(loss, trained)), expected)


def test_nothing_is_left_behind(model_of):
    model = model_of("bert")
    with pytest.raises(RuntimeError):
        model(torch.zeros(2, 3, dtype=torch.long), torch.tensor([[1, 1, 0], [1, 0, 0]]), second=5,
              token_type_ids=torch.zeros(9, 9, dtype=torch.long))  # fmt: skip
    assert PACKING.get() is None
    hooks = [hook for m in layers_of(model.encoder) for hook in m._forward_pre_hooks]
    assert not hooks and not layers_of(model.encoder)[-1]._forward_hooks
