"""Training seeds all random numbers and sets up `accelerate`; a caller's own of both stay."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState

from fishpal.models.precision import single_by_default

ONE = threading.RLock()  # random numbers and accelerate's state are a process's, not a thread's


@contextmanager
def fresh(*states: Any) -> Iterator[None]:
    """Within the block these states of accelerate begin anew; a caller's own return after it.

    They are one dictionary each, that all objects of a class share: a caller's `Accelerator` sees
    what training changes there, and training whether the caller is just accumulating gradients.
    """
    kept = [dict(state._shared_state) for state in states]
    for state in states:
        state._shared_state.clear()
    try:
        yield
    finally:
        for state, own in zip(states, kept, strict=True):
            state._shared_state.clear()
            state._shared_state.update(own)


@contextmanager
def apart() -> Iterator[None]:
    """Within the block random numbers and accelerate's state are its own: both return after it.

    Threads take turns. Gradients are on, autocast off, numbers single and NumPy's errors as usual,
    whatever a caller set.
    """
    with ONE:
        python, arrays = random.getstate(), np.random.get_state()
        try:
            with (
                fresh(AcceleratorState, GradientState, PartialState),
                torch.random.fork_rng(),
                torch.inference_mode(False),
                torch.enable_grad(),
                torch.autocast("cpu", enabled=False),
                torch.autocast("cuda", enabled=False),
                np.errstate(all="warn", under="ignore"),
                single_by_default(),
            ):
                yield
        finally:
            random.setstate(python)
            np.random.set_state(arrays)
