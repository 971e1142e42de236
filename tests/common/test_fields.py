"""Options made in Python are checked, and taken, as those of params.yaml."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

from fishpal.common.choices import Module
from fishpal.common.errors import ParamsError
from fishpal.common.kinds import CriterionName, ModuleKind, Site
from fishpal.common.validate import decode
from fishpal.params.methods import ByCriterion
from fishpal.params.module_options import AdapterOptions, LoraOptions
from fishpal.params.options import (
    EvaluateOptions,
    FisherOptions,
    LearningRates,
    RateOptions,
    SelectOptions,
    TrainOptions,
)
from fishpal.params.race_options import RaceOptions

WRONG = [
    (TrainOptions, "updates", "40", "updates is '40'; allowed: auto, or an integer from 1"),
    (TrainOptions, "updates", 4.0, "updates is 4.0; allowed: auto, or an integer from 1"),
    (TrainOptions, "updates", None, "updates is None; allowed: auto, or an integer from 1"),
    (TrainOptions, "updates", True, "updates is True; allowed: auto, or an integer from 1"),
    (TrainOptions, "epochs", 1.5, "epochs is 1.5; allowed: an integer from 1"),
    (TrainOptions, "batch_size", 2.5, "batch_size is 2.5; allowed: an integer from 1"),
    (TrainOptions, "batch_size", 0, "batch_size is 0; allowed: an integer from 1"),
    (TrainOptions, "batch_size", [8], "batch_size is [8]; allowed: an integer from 1"),
    (TrainOptions, "pilot", "no", "pilot is 'no'; allowed: True or False"),
    (TrainOptions, "pilot", 1, "pilot is 1; allowed: True or False"),
    (TrainOptions, "learning_rate", 0.01, "learning_rate is 0.01; allowed: a RateOptions"),
    (TrainOptions, "schedule", 3, "schedule is '3'; allowed: averaged, constant, cosine"),
    (TrainOptions, "weight_decay", "0.1", "weight_decay is '0.1'; allowed: 0 or more"),
    (LearningRates, "lora", "auto", "lora is 'auto'; allowed: above 0 up to 100"),
    (LearningRates, "lora", True, "lora is True; allowed: above 0 up to 100"),
    (RateOptions, "lora", "fast", "lora is 'fast'; allowed: auto, or above 0 up to 100"),
    (LoraOptions, "rank", 4.0, "rank is 4.0; allowed: an integer from 1 to 16384"),
    (LoraOptions, "rank", True, "rank is True; allowed: an integer from 1 to 16384"),
    (LoraOptions, "ranks", (8, 4.0), "ranks.1 is 4.0; allowed: an integer from 1 to 16384"),
    (LoraOptions, "ranks", 8, "ranks is 8; allowed: a list or None"),
    (LoraOptions, "sites", "al", "sites is 'al'; allowed: a list or 'all'"),
    (LoraOptions, "sites", ("kye",), "sites.0 is 'kye' (did you mean 'key'?); allowed: down"),
    (AdapterOptions, "activation", ["relu"], "activation is '['relu']' (did you mean 'relu'?)"),
    (FisherOptions, "kinds", "lora", "kinds is 'lora'; allowed: a list"),
    (FisherOptions, "kinds", ("loar",), "kinds.0 is 'loar' (did you mean 'lora'?); allowed: ada"),
    (FisherOptions, "kinds", (), "kinds is empty; allowed: one kind or more"),
    (FisherOptions, "examples", "32", "examples is '32'; allowed: an integer from 2"),
    (FisherOptions, "seed", -1, "seed is -1; allowed: an integer from 0"),
    (SelectOptions, "budget", "0.1", "budget is '0.1'; allowed: above 0 up to 1, or null"),
    (SelectOptions, "fallback", "x", "fallback is 'x'; allowed: adapter, bias"),
    (RaceOptions, "rates", (1.0, "3"), "rates.1 is '3'; allowed: a number"),
    (EvaluateOptions, "precision", np.zeros(2), "precision is 'array([0., 0.])'; allowed: fl"),
]


@pytest.mark.parametrize(("record", "key", "value", "expected"), WRONG, ids=[w[3] for w in WRONG])
def test_a_value_of_the_wrong_type_is_one_line(record, key, value, expected):
    with pytest.raises(ParamsError) as caught:
        record(**{key: value})
    message = str(caught.value)
    assert message.startswith(expected) and "allowed: " in message and message.isprintable()


def test_words_and_lists_become_what_a_file_gives():
    options = FisherOptions(kinds=["lora", "adapter"], estimator="exact")
    assert options == FisherOptions(kinds=(ModuleKind.LORA, ModuleKind.ADAPTER), estimator="exact")
    assert type(options.kinds) is tuple and type(options.kinds[0]) is ModuleKind
    assert type(LoraOptions(sites=["key"]).sites[0]) is Site
    assert type(ByCriterion(criterion="snr").criterion) is CriterionName
    assert str(Module("lora")) == "lora" and str(Module("lora", np.int64(4))) == "lora-4"
    assert decode(FisherOptions, json.loads(json.dumps(asdict(options))), "x") == options


def test_numbers_of_numpy_and_torch_are_pythons():
    found = TrainOptions(updates=np.int64(3), weight_decay=np.float32(0.5), pilot=np.bool_(False))
    assert [type(each) for each in (found.updates, found.weight_decay, found.pilot)] == [
        int, float, bool,
    ]  # fmt: skip
    assert found == TrainOptions(updates=3, weight_decay=0.5, pilot=False)
    assert TrainOptions(epochs=torch.tensor(2)).epochs == 2
    assert TrainOptions(max_grad_norm=1).max_grad_norm == 1
