"""Which examples are measured: as drawn, but with every label."""

from __future__ import annotations

import numpy as np
import pytest

from fishpal.fisher.sample import draw_sample
from fishpal.params.options import FisherOptions
from fishpal.records.facts import Scale, TaskFacts
from fishpal.records.task import TokenisedTask
from tests.conftest import labelled, task_facts


def sample_of(labels, size, seed, facts):
    task = TokenisedTask(facts, labelled(labels))
    return draw_sample(task, FisherOptions(examples=size, seed=seed))


def drawn(labels, size, seed):
    """Rows without a look at labels."""
    order = np.random.default_rng(seed).permutation(len(labels))
    return sorted(order[:size].tolist())


@pytest.mark.parametrize("seed", range(12))
def test_a_rare_class_is_in_the_sample(seed):
    labels = np.zeros(300, dtype=int)
    labels[[7, 133, 250]] = 1
    found = sample_of(labels.tolist(), 64, seed, task_facts()).labels.numpy()
    own = int(labels[drawn(labels, 64, seed)].sum())
    assert len(found) == 64 and found.sum() == max(own, 2)


def test_a_sample_with_every_class_is_as_drawn():
    labels = (np.arange(100) % 3).tolist()
    found = sample_of(labels, 40, 5, task_facts(3)).labels.tolist()
    assert found == [labels[row] for row in drawn(labels, 40, 5)]


@pytest.mark.parametrize("seed", range(6))
def test_rare_classes_do_not_push_one_another_out(seed):
    labels = [0] * 90 + [1] * 4 + [2] * 3 + [3] * 3
    found = sample_of(labels, 10, seed, task_facts(4)).labels.numpy()
    assert np.bincount(found, minlength=4)[1:].min() >= 2 and len(found) == 10
    alone = sample_of(labels, 3, seed, task_facts(4)).labels.numpy()
    assert len(alone) == 3, "more classes than there is room for"


@pytest.mark.parametrize("seed", range(6))
def test_a_regression_has_two_labels(seed):
    labels = [0.0] * 200 + [3.5, 4.5, 5.5]
    facts = TaskFacts("toy", None, 0, Scale(0.0, 1.0))
    found = sample_of(labels, 32, seed, facts).labels.numpy()
    assert (found != 0).sum() >= 2 and len(found) == 32
