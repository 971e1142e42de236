"""Training seeds all random numbers and sets up `accelerate`; a caller's own of both stay."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from accelerate.state import AcceleratorState


@contextmanager
def apart() -> Iterator[None]:
    """Within the block random numbers and accelerate's state are its own: both return after it."""
    shared = AcceleratorState._shared_state
    kept, python, arrays = dict(shared), random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)
        shared.clear()
        shared.update(kept)
