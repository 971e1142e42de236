"""`train.schedule: averaged` through the stages and in memory: a race is one training less."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any

import pytest
import torch

import fishpal
from benchmarks.toy.project import edit_yaml
from fishpal.api import steps
from fishpal.params.load import load_params
from fishpal.records.paths import Artifacts
from fishpal.records.pilot import Pilot
from fishpal.records.plan import Plan
from fishpal.selection.rates import REFERENCE
from fishpal.training.starts import train_plan
from tests.api.conftest import measured_as_stages
from tests.stages.toy_project import run_stage

CELLS = ("train_plan toy fishpal 0", "train_plan toy fishpal 1")


def averaged(params: dict[str, Any]) -> None:
    params["grid"] |= {"methods": ["fishpal"], "seeds": [0, 1]}
    params["methods"]["fishpal"] = {"rule": "race"}
    params["train"] |= {"schedule": "averaged", "epochs": None, "max_updates": 256, "pilot": True}
    params["train"]["learning_rate"] |= {"lora": "auto"}


def files_of(root, seed):
    """A cell's bytes, by name."""
    found = Artifacts(root / "artifacts")
    folder = found.trained("toy", "fishpal", seed)
    paths = [*folder.iterdir(), found.curve("toy", "fishpal", seed)]
    return {path.name: path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def root(project, tmp_path_factory):
    """The toy project, whose trainings are averaged."""
    root = shutil.copytree(project, tmp_path_factory.mktemp("averaged") / "project")
    edit_yaml(root / "params.yaml", averaged)
    for stage in ("run_pilot toy", "select_plan toy fishpal", *CELLS):
        log = root.parent / "log"
        assert run_stage(root, stage, log) == 0, f"{stage}: {log.read_text()}"
    return root


def test_the_pilots_last_arm_is_the_cell_of_its_seed(root, tmp_path):
    """It is taken over, to the bytes that training the cell gives."""
    found = Artifacts(root / "artifacts")
    first, other = files_of(root, 0), files_of(root, 1)
    pilot, plan = Pilot.load(found.pilot("toy")), Plan.load(found.plan("toy", "fishpal"))
    assert pilot.averaged and pilot.updates == plan.updates == pilot.winner().updates
    seconds = [found.raced("toy").with_suffix(".json"), found.seconds("train", "toy", "fishpal", 0)]
    assert seconds[0].read_bytes() == seconds[1].read_bytes()
    shutil.rmtree(root / "artifacts/checkpoints")
    assert run_stage(root, CELLS[0], tmp_path / "log") == 0
    assert not found.raced("toy").exists() and files_of(root, 0) == first
    assert other["head.safetensors"] != first["head.safetensors"]


def test_rates_are_the_pilots_whatever_the_length(root):
    found = Artifacts(root / "artifacts")
    pilot, plan = Pilot.load(found.pilot("toy")), Plan.load(found.plan("toy", "fishpal"))
    assert pilot.updates != REFERENCE and plan.rate(plan.kinds[0], 0) == pilot.winner().rate


def test_fit_takes_it_in_memory(root, monkeypatch):
    """Which trains the cell of another seed, of another plan, or of a plan that is given."""
    monkeypatch.chdir(root)
    params, trained = load_params(), []
    encoder, task, measured = measured_as_stages(params)
    monkeypatch.setattr(
        steps, "train_plan", lambda *args: trained.append(args) or train_plan(*args)
    )
    options = {"options": params.train, "head": params.head}
    taken = fishpal.fit(encoder, task, **options)
    assert not trained
    given = fishpal.fit(encoder, task, taken.plan, **options)
    assert len(trained) == 1 and taken.training == given.training
    own, other = (model.module.state_dict() for model in (taken, given))
    assert all(torch.equal(own[name], other[name]) for name in other)
    assert fishpal.fit(encoder, task, seed=1, **options).seed == 1 and len(trained) == 2
    linear = replace(params.train, schedule="linear")
    assert fishpal.measure(encoder, task, training=linear).raced is None
    assert measured.raced is not None
