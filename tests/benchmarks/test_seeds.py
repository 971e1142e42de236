"""Seeds trained together against the library's training, one seed after the other."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from benchmarks.seeds import Trial, by_rows, clip_by_seed, train_apart, train_together
from fishpal.common.kinds import ModuleKind
from fishpal.models.head import start_head
from fishpal.models.planned import plan_model
from fishpal.params.options import HeadOptions
from fishpal.records.task import TokenisedTask
from fishpal.training.train import train
from tests.conftest import random_examples, task_facts
from tests.training.test_training import OPTIONS, plan_for

P, A, L, I3 = (ModuleKind[name] for name in ("PREFIX", "ADAPTER", "LORA", "IA3"))
SEEDS = (0, 1, 7)
# 22 examples: an epoch's batch of 2 comes at another update of every seed; clipping in each.
ALIKE = replace(
    OPTIONS, epochs=3, max_grad_norm=0.05, precision="float32", pick="loss", recover=False
)


def trial_of(tiny_encoder, layers, classes=2, gates=False, options=ALIKE):
    encoder = tiny_encoder()
    plan = plan_for(encoder, *layers)
    plan = replace(plan, modules=replace(plan.modules, gates=gates))
    fit, selection = random_examples(22, classes), random_examples(9, classes, seed=1)
    task = TokenisedTask(task_facts(classes), fit, selection)
    return Trial(encoder, start_head(encoder, task, HeadOptions()), plan, task, options)


def own_training(trial, seed):
    """Weights and the update that they are of."""
    head = nn.Linear(trial.head.in_features, trial.head.out_features)
    head.load_state_dict(trial.head.state_dict())
    model = plan_model(trial.encoder, head, trial.plan, seed, trial.options.train_head)
    done = train(model, trial.plan, trial.task, trial.options, seed, progress=False)
    found = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    model.detach()
    return found, done.best_update


@pytest.mark.parametrize(
    ("layers", "classes", "gates", "train_head"),
    [((P, A, L), 3, False, True), ((L, P, A), 1, True, True), ((I3, None, L), 2, False, False)],
)
def test_weights_are_those_of_trainings_one_by_one(
    tiny_encoder, layers, classes, gates, train_head
):
    options = replace(ALIKE, train_head=train_head)
    trial = trial_of(tiny_encoder, layers, classes, gates, options)
    together = train_together(trial, SEEDS)
    wanted = [own_training(trial, seed) for seed in SEEDS]
    assert any(update for _, update in wanted), "some are trained"
    for found, (weights, _) in zip(together, wanted, strict=True):
        assert found.keys() == weights.keys()
        for name, weight in weights.items():
            torch.testing.assert_close(found[name], weight, rtol=0, atol=1e-4, msg=name)
    apart = train_apart(trial, SEEDS)  # what the benchmark times
    for found, (weights, _) in zip(apart, wanted, strict=True):
        assert all(torch.equal(found[name], weight) for name, weight in weights.items())


def test_seeds_differ_and_the_encoder_is_left_as_it_was(tiny_encoder):
    trial = trial_of(tiny_encoder, (L, L, L))
    before = {name: t.clone() for name, t in trial.encoder.model.state_dict().items()}
    head = trial.head.weight.clone()
    one, other = train_together(trial, (0, 1))
    assert all(not torch.equal(one[name], other[name]) for name in one)
    assert all(torch.equal(before[n], t) for n, t in trial.encoder.model.state_dict().items())
    assert torch.equal(head, trial.head.weight)
    trial.model(0)  # free for another model


def test_a_seed_is_clipped_by_its_own_norm_as_torch_clips():
    torch.manual_seed(0)
    tensors = [nn.Parameter(torch.zeros(3, 4, 2)), nn.Parameter(torch.zeros(3, 5))]
    for tensor in tensors:
        tensor.grad = torch.randn_like(tensor) * torch.tensor([0.01, 1.0, 9.0]).view(
            -1, *[1] * (tensor.dim() - 1)
        )
    wanted = []
    for seed in range(3):
        alone = [nn.Parameter(torch.zeros_like(tensor[seed])) for tensor in tensors]
        for each, tensor in zip(alone, tensors, strict=True):
            each.grad = tensor.grad[seed].clone()
        nn.utils.clip_grad_norm_(alone, 1.0)
        wanted.append([each.grad for each in alone])
    clip_by_seed(tensors, 1.0)
    for seed, alone in enumerate(wanted):
        for tensor, gradient in zip(tensors, alone, strict=True):
            torch.testing.assert_close(tensor.grad[seed], gradient)


def test_rows_take_their_seeds_tensor_and_give_back_the_sum_of_gradients():
    tensor = torch.arange(6.0).view(2, 3).requires_grad_()
    rows = by_rows(tensor, (1, 3))
    assert torch.equal(rows, tensor[[0, 1, 1, 1]])
    rows.sum().backward()
    assert torch.equal(tensor.grad, torch.tensor([[1.0] * 3, [3.0] * 3]))


@pytest.mark.parametrize("change", [{"patience": 1}, {"epochs": None}, {"pick": "refined"}])
def test_what_lets_seeds_end_apart_is_refused(tiny_encoder, change):
    trial = trial_of(tiny_encoder, (L, L, L), options=replace(ALIKE, **change))
    with pytest.raises(ValueError, match="allowed: none of them"):
        train_together(trial, SEEDS)
