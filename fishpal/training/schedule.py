"""How rates move over a training."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_scheduler

from fishpal.params.options import TrainOptions
from fishpal.training.average import PLANNED

NAMES = {"constant": "constant_with_warmup", "averaged": "constant_with_warmup"}
"""Ours → transformers', where they differ."""


def start_schedule(optimizer: Optimizer, options: TrainOptions, total: int) -> LRScheduler:
    """From before the first of `total` updates, of which `options.warmup` is a share.

    The share of an averaged training is of `PLANNED`.
    """
    name = NAMES.get(options.schedule, options.schedule)
    return get_scheduler(name, optimizer, warmup_of(options, total), total)


def warmup_of(options: TrainOptions, total: int) -> int:
    """The updates until rates are at their peak."""
    planned = PLANNED if options.schedule == "averaged" else total
    return min(math.ceil(options.warmup * planned), total - 1)  # else none trains
