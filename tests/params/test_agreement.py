"""What methods of the grid ask of other sections, found before any stage runs."""

from __future__ import annotations

from typing import Any

import pytest

from fishpal.common.errors import ParamsError
from fishpal.params.load import parse_params
from tests.tasks.data_helpers import default_params

RACE: dict[str, Any] = {"rule": "race"}
KERNEL = {"rule": "criterion", "criterion": "kernel"}
# the method, what is set beside it, what the message has to say
BAD: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (RACE, {"train.pilot": False, "train.updates": 8}, "train.pilot is False; allowed: true, for"),
    (RACE, {"train.race.criteria": ["kernel"], "fisher.gram": False}, "fisher.gram is False; all"),
    (KERNEL, {"fisher.gram": False}, "fisher.gram is False; allowed: true, for criterion kernel o"),
    ({"rule": "criterion"}, {"fisher.estimator": "exact"}, "fisher.estimator is exact; allowed: e"),
    ({"rule": "uniform", "kind": "ia3"}, {}, "fisher.kinds is prefix, adapter, lora; allowed: ia3"),
    ({"rule": "mam"}, {"fisher.kinds": ["prefix"]}, "is prefix; allowed: adapter among them, for"),
    ({"rule": "unipelt"}, {"fisher.kinds": ["prefix", "adapter"]}, "allowed: lora among them, for"),
    ({"rule": "thesis"}, {"fisher.kinds": ["prefix", "adapter"]}, "allowed: lora among them, for"),
    (
        {"rule": "uniform", "kind": "lora", "size": 2},
        {},
        "methods.m.size is 2; allowed: 8 (module",
    ),
    ({"rule": "uniform", "kind": "bias", "size": 2}, {"fisher.kinds": ["bias"]}, "allowed: null"),
    (
        {"rule": "none"},
        {"train.train_head": False},
        "train_head is False; allowed: true, as metho",
    ),
    ({"rule": "full"}, {"train.learning_rate.full": "auto"}, "full is auto; allowed: a number, or"),
    (
        RACE,
        {"fisher.mode": "joint", "modules.prefix.lengths": [5, 10]},
        "null where fisher.mode i",
    ),
]
GOOD: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (RACE, {"train.pilot": False}),  # the length is auto, and asks for it
    (RACE | {"margin": 0.1}, {}),
    ({"rule": "uniform", "kind": "lora", "size": 2}, {"modules.lora.ranks": [2, 8]}),
    ({"rule": "uniform", "kind": "lora", "size": 8}, {}),
    ({"rule": "uniform", "kind": "lora"}, {"fisher.kinds": ["lora"], "train.train_head": False}),
    ({"rule": "full", "learning_rate": 1e-5}, {"train.learning_rate.full": "auto"}),
    ({"rule": "full"}, {"train.learning_rate.full": "auto", "fisher.full": True}),
    ({"rule": "criterion", "criterion": "trace"}, {"fisher.estimator": "exact"}),
]


def params_with(method: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    params = default_params()
    params["methods"], params["grid"]["methods"] = {"m": method, "other": {"rule": "mam"}}, ["m"]
    for key, value in given.items():
        *sections, last = key.split(".")
        part = params
        for section in sections:
            part = part[section]
        part[last] = value
    return params


@pytest.mark.parametrize(("method", "given", "said"), BAD, ids=[row[2][:30] for row in BAD])
def test_what_a_method_lacks_is_named(method, given, said):
    with pytest.raises(ParamsError) as caught:
        parse_params(params_with(method, given))
    assert said in str(caught.value)


@pytest.mark.parametrize(("method", "given"), GOOD)
def test_what_it_has_is_enough(method, given):
    """And a method outside of the grid asks nothing."""
    assert parse_params(params_with(method, given)).grid.methods == ("m",)
