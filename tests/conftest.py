"""Tiny random encoders and data; nothing here needs a network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

# Tiny tensors gain nothing from more threads, and lose a lot where the cores are shared. Stages
# that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from benchmarks.toy.encoder import DECODERS, HIDDEN, LAYERS, VOCAB, tiny_folder  # noqa: F401
from fishpal.common.kinds import ModuleKind
from fishpal.encoders.encoder import Encoder, load_encoder
from fishpal.models.precision import NATIVE
from fishpal.records.examples import Example
from fishpal.records.facts import TaskFacts
from tests.reporting.artifact_tree import make_run

OWN_ATTENTION = ("mpnet", "deberta-v2")
TYPES = ("bert", "roberta", "xlm-roberta", "camembert", "distilbert", "electra", "modernbert",
         *OWN_ATTENTION)  # fmt: skip
EVERY_TYPE = (*TYPES, *DECODERS)
NO_BIAS = ("modernbert", "llama", "mistral", "qwen3", "gemma2", "gemma3_text")


def kinds_of(kind: str) -> tuple[ModuleKind, ...]:
    """The kinds that layers of an encoder type can take."""
    return tuple(k for k in ModuleKind if k != ModuleKind.BIAS or kind not in NO_BIAS)


@pytest.fixture(scope="session", autouse=True)
def every_cpu_alike() -> Iterator[None]:
    """No CPU computes bfloat16 natively, so that `precision: auto` is float32 on each of them."""
    own = torch.cpu.get_capabilities
    torch.cpu.get_capabilities = lambda: own() | dict.fromkeys(NATIVE, False)
    yield
    torch.cpu.get_capabilities = own


@pytest.fixture(scope="session")
def encoder_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every encoder type's folder, made when first asked for."""

    class Folders(dict[str, Path]):
        def __missing__(self, kind: str) -> Path:
            self[kind] = tiny_folder(kind, tmp_path_factory.mktemp("encoder") / kind)
            return self[kind]

    return Folders()


@pytest.fixture
def tiny_encoder(encoder_folders):  # type: ignore[no-untyped-def]
    """`tiny_encoder(type)`: a fresh frozen encoder in eval mode."""

    def make(kind: str = "bert", double: bool = False, pooling: str | None = None) -> Encoder:
        encoder = load_encoder(encoder_folders[kind], pooling)
        return Encoder.of(encoder.model.double(), pooling) if double else encoder

    return make


@pytest.fixture
def tiny_model(tiny_encoder):  # type: ignore[no-untyped-def]
    """`tiny_model(type)`: the model of such an encoder alone."""
    return lambda *given, **named: tiny_encoder(*given, **named).model


# Side by side, a file goes to one process as a whole: the longest ones have to start first.
LONGEST = [
    "pipeline/test_pipeline.py",
    "studies/test_study_pipeline.py",
    "pipeline/test_concurrency.py",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    items.sort(key=lambda item: [not item.nodeid.startswith(f"tests/{name}") for name in LONGEST])


def random_examples(count: int, classes: int = 2, seed: int = 0) -> list[Example]:
    """Examples of 3 to 12 tokens; with `classes` 1, of real-valued labels."""
    generator = torch.Generator().manual_seed(seed)
    examples = []
    for _ in range(count):
        size = int(torch.randint(3, 13, (), generator=generator))
        ids = torch.randint(3, VOCAB, (size,), generator=generator).tolist()
        label = int(torch.randint(max(classes, 2), (), generator=generator))
        value = float(torch.randn((), generator=generator))
        examples.append(Example(ids, value if classes == 1 else label))
    return examples


def labelled(labels: Sequence[float]) -> list[Example]:
    """Random examples with these labels."""
    examples = random_examples(len(labels))
    return [replace(each, label=label) for each, label in zip(examples, labels, strict=True)]


def task_facts(classes: int = 2) -> TaskFacts:
    """A task of that many classes; 1 is a regression."""
    labels = None if classes == 1 else tuple("abcdef"[:classes])
    return TaskFacts("toy", labels, pad_id=0)


@pytest.fixture(scope="session")
def report_template(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    """Params and a hand-made artifacts tree that fits them."""
    return make_run(tmp_path_factory.mktemp("template") / "artifacts")


@pytest.fixture
def run(report_template, tmp_path: Path):  # type: ignore[no-untyped-def]
    """Params and a copy of the artifacts of its own, to be changed at will."""
    params, root = report_template
    return params, shutil.copytree(root, tmp_path / "artifacts")


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy project; tests change copies of it."""
    from tests.stages.toy_project import build  # which imports this file

    return build(tmp_path_factory.mktemp("project"))
