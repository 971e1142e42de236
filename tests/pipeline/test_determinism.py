"""What one machine promises: the same bytes again, and nearly the same with other threads."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from fishpal.common.kinds import ModuleKind
from fishpal.fisher.engine import measure_fisher
from fishpal.models.head import start_head
from fishpal.models.planned import plan_model
from fishpal.params.module_options import ModuleOptions
from fishpal.params.options import FisherOptions, HeadOptions, TrainOptions
from fishpal.records.plan import Plan, Reason
from fishpal.records.task import TokenisedTask
from fishpal.training.train import train
from tests.conftest import random_examples, task_facts

P, A, L, *_ = ModuleKind
FIT = random_examples(40, seed=3)
TASK = TokenisedTask(task_facts(), FIT, FIT[:12])
THREADS = 1e-5  # relative: sums of float32 in another order


@pytest.fixture
def threads():
    """Sets the number of threads; back to what it was afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def measured(encoder):
    head = start_head(encoder, TASK, HeadOptions())
    options = FisherOptions(examples=32, batch_size=8)
    return measure_fisher(encoder, head, TASK, ModuleOptions(), options, progress=False)


def trained(encoder):
    plan = Plan("toy", "test", encoder.facts, (P, A, L), Reason("uniform"))
    head = start_head(encoder, TASK, HeadOptions())
    model = plan_model(encoder, head, plan, 0)
    options = TrainOptions(epochs=3, batch_size=8, device="cpu")
    result = train(model, plan, TASK, options, 0, progress=False)
    weights = [p.detach().double().numpy() for p in model.parameters() if p.requires_grad]
    return np.concatenate([w.ravel() for w in weights]), result.best_loss


def test_measuring_again_gives_the_same_bytes(tiny_encoder, tmp_path):
    for name in ("one", "two"):
        table, grams = measured(tiny_encoder())
        table.save(tmp_path / f"{name}.json")
        grams.save(tmp_path / f"{name}.safetensors")
    for ending in ("json", "safetensors"):
        one, two = ((tmp_path / f"{name}.{ending}").read_bytes() for name in ("one", "two"))
        assert one == two and len(one) > 1000


def test_two_threads_measure_the_same(tiny_encoder, tmp_path, threads):
    traces = []
    for number in (1, 2):
        threads(number)
        table, _ = measured(tiny_encoder())
        table.save(tmp_path / "table.json")
        rows = json.loads((tmp_path / "table.json").read_text())["rows"]
        traces.append([[row["trace"], row["gradient_l1"]] for row in rows])
    np.testing.assert_allclose(traces[1], traces[0], rtol=THREADS)


def test_two_threads_train_nearly_the_same(tiny_encoder, threads):
    found = []
    for number in (1, 2):
        threads(number)
        found.append(trained(tiny_encoder()))
    (one, loss), (two, again) = found
    assert np.linalg.norm(two - one) < 1e-3 * np.linalg.norm(one)
    assert abs(loss - again) < 1e-3
