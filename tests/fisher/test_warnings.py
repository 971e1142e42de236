"""Options that are taken, but not without a word."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace

import pytest

from fishpal.common.errors import FishpalWarning, ParamsError
from fishpal.common.kinds import ModuleKind
from fishpal.fisher.engine import measure_fisher
from fishpal.models.head import start_head
from fishpal.models.planned import plan_model
from fishpal.params.module_options import AdapterOptions, LoraOptions
from fishpal.params.options import FisherOptions, HeadOptions, TrainOptions
from fishpal.records.plan import Plan, Reason
from fishpal.records.task import TokenisedTask
from fishpal.training.train import train
from tests.conftest import HIDDEN, random_examples, task_facts
from tests.modules.test_modules import SMALL

TASK = TokenisedTask(task_facts(), random_examples(6), random_examples(4))
USUAL = FisherOptions(kinds=(ModuleKind.LORA, ModuleKind.ADAPTER), examples=6, device="cpu")


def said(encoder, modules=SMALL, options=USUAL):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        head = start_head(encoder, TASK, HeadOptions())
        measure_fisher(encoder, head, TASK, modules, options, progress=False)
    return [str(one.message) for one in found if one.category is FishpalWarning]


@pytest.mark.parametrize(
    ("modules", "options", "expected"),
    [
        ({}, {}, None),
        ({}, {"examples": 7}, "fisher.examples is 7; fit has 6"),
        ({}, {"precision": "float16"}, "fisher.precision is float16 on a CPU"),
        (
            {"lora": LoraOptions(rank=HIDDEN + 1)},
            {},
            f"lora.rank is {HIDDEN + 1}, above .* {HIDDEN}",
        ),
        ({"adapter": AdapterOptions(bottleneck=99)}, {}, "adapter.bottleneck is 99, above"),
    ],
)
def test_an_odd_option_is_warned_about(tiny_encoder, modules, options, expected):
    found = said(tiny_encoder(), replace(SMALL, **modules), replace(USUAL, **options))
    assert len(found) == (expected is not None)
    assert expected is None or re.search(expected, found[0])


def test_training_in_float16_on_a_cpu_is_refused(tiny_encoder):
    encoder = tiny_encoder()
    plan = Plan("toy", "m", encoder.facts, (ModuleKind.LORA,) * 3, Reason("x"), modules=SMALL)
    model = plan_model(encoder, start_head(encoder, TASK, HeadOptions()), plan, 0)
    options = TrainOptions(precision="float16", device="cpu")
    with pytest.raises(ParamsError, match="train.precision is float16 on a CPU; allowed there"):
        train(model, plan, TASK, options, 0, progress=False)
