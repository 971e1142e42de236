"""Plans of both versions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fishpal.common.errors import PlanError
from fishpal.records.facts import EncoderFacts
from fishpal.records.plan import Plan, Reason

STORED = Path(__file__).parent / "plan_version_1.json"
"""As version 1 of the format wrote it."""


def test_the_first_version_loads_and_keeps_its_bytes(tmp_path):
    plan = Plan.load(STORED)
    assert plan.layers == ("prefix", None, "lora", "adapter") and plan.kept == 150
    assert plan.modules.prefix.start == "random"
    plan.save(tmp_path / "plan.json")
    assert (tmp_path / "plan.json").read_bytes() == STORED.read_bytes()


def test_a_layer_holds_several_modules_with_their_sizes(tmp_path):
    layers = ("lora-8+prefix", None, "lora-2", "lora")
    facts = EncoderFacts("bert", 4, 8, 10_000)
    rates = {"lora-8": 0.02, "lora-4": 0.9}
    plan = Plan("toy", "m", facts, layers, Reason("test"), rates=rates)
    assert plan.layers == ("prefix+lora-8", *layers[1:]) and plan.kinds == ("prefix", "lora")
    plan.save(tmp_path / "plan.json")
    data = json.loads((tmp_path / "plan.json").read_text())
    prefix, lora = {"kind": "prefix", "size": None}, {"kind": "lora", "size": 8}
    assert data["version"] == 2 and data["layers"][:2] == [[prefix, lora], []]
    assert data["rates"] == {"lora-8": 0.02}
    again = Plan.load(tmp_path / "plan.json")
    assert again.to_json() == plan.to_json() and again.layers == plan.layers
    found = [again.rate("lora", 0), again.rate("lora", 2), again.rate("head")]
    assert found == [0.02, again.learning_rate.lora, again.learning_rate.head]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("lora-0", "size is 0; allowed: an integer from 1"),
        ("lora-8b", "size is '8b'; allowed: up to five digits"),
        ("adapter+adapter-4", "two modules of a kind; allowed: each kind once a layer"),
        ("bias-3", "size is 3; allowed: null, since bias has no sizes"),
        ("", "kind is ''; allowed: adapter"),
    ],
)
def test_words_that_name_nothing_are_errors(word, message):
    with pytest.raises(PlanError, match=f"layers.0: .*{message}"):
        Plan("toy", "m", EncoderFacts("bert", 1, 8, 99), (word,), Reason("test"))
