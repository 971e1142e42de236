"""A tiny encoder with its tokenizer, and texts whose words decide their class."""

from __future__ import annotations

import numpy as np
import pytest

import fishpal
from benchmarks.toy.project import write_encoder


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text_encoder") / "encoder"
    write_encoder(folder)
    return folder


@pytest.fixture
def encoder(encoder_folder):
    return fishpal.load_encoder(encoder_folder)


def texts_of(count, classes=2, seed=0):
    """Texts of words of their class alone, and class numbers."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=count)
    size = 36 // classes
    words = [rng.integers(size * label, size * (label + 1), 6) for label in labels]
    return [" ".join(f"w{i}" for i in each) for each in words], labels.tolist()


@pytest.fixture
def task():
    texts, labels = texts_of(120)
    return fishpal.Task.from_lists(texts, [("bad", "good")[y] for y in labels], name="toy")


def plan_of(encoder, kind="lora", task="toy"):
    """A uniform plan without a measurement."""
    from fishpal.records.plan import Reason

    layers = (fishpal.ModuleKind(kind) if kind else None,) * encoder.facts.layers
    return fishpal.Plan(
        task,
        kind or "head",
        encoder.facts,
        layers,
        Reason("uniform"),
        learning_rate=RATES.fixed(),
    )


FAST = fishpal.TrainOptions(epochs=8, batch_size=8, evaluations_per_epoch=0.5)
RATES = fishpal.RateOptions(
    prefix=0.1, adapter=0.02, lora=0.02, bias=1e-3, ia3=3e-3, head=0.05, full=1e-3
)


def measured_as_stages(params):
    """Encoder, task and measurement in memory of the toy project that the working folder is."""
    encoder = fishpal.load_encoder("artifacts/encoder")
    task = fishpal.Task.from_file(
        "data/toy/train.jsonl", "sentence", "label", name="toy", fit=40, selection=20,
        max_length=params.tokenize.max_length, seed=params.tokenize.split_seed,
    )  # fmt: skip
    sections = (params.fisher, params.modules, params.head, params.train)
    measured = fishpal.measure(encoder, task, *sections)
    return encoder, task, measured
