"""The state of a training that is under way, in one safetensors file, so that a killed one goes on.

A checkpoint is a convenience, never a result: one that is damaged, or that belongs to other
params, data, code or another torch, is as good as none, and training starts from the beginning.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fishpal.common.files import replacing
from fishpal.params.options import HeadOptions, TrainOptions
from fishpal.records.finished import result_key
from fishpal.records.plan import Plan

SECONDS = 60.0  # between two checkpoints: what a kill costs at most, plus one evaluation


# Of the options: what reaches a training through its plan, and the number of processes as it is.
IN_PLAN = ("learning_rate", "updates", "max_updates", "epochs", "pilot", "race", "processes")


def decisive(plan: Plan, options: TrainOptions) -> list[object]:
    """What plan and options say that decides a training's result, as JSON values."""
    found = {key: value for key, value in asdict(options).items() if key not in IN_PLAN}
    return [plan.trained_by(), found]


def cell_key(
    plan: Plan,
    options: TrainOptions,
    head: HeadOptions,
    seed: int,
    processes: int,
    files: Sequence[Path],
) -> str:
    """That of a cell's training (`records.finished`); `files` are the examples and the encoder."""
    return result_key([*decisive(plan, options), asdict(head), seed, processes], files)


class Checkpoint:
    """Where one training keeps its state, and the key of what it belongs to.

    Args:
        path: a file outside the pipeline's outputs.
        key: from `fishpal.records.finished.result_key`.
        seconds: wall clock between two checkpoints; 0 keeps one after every update.
    """

    def __init__(self, path: str | Path, key: str, seconds: float = SECONDS) -> None:
        self.path, self.key, self.seconds = Path(path), key, seconds
        self._last = time.monotonic()

    def due(self) -> bool:
        """The last one is `seconds` ago."""
        return time.monotonic() - self._last >= self.seconds

    def save(self, tensors: dict[str, Tensor], state: Any) -> None:
        """Replace the file as a whole; `FishpalError` where it cannot be written."""
        found = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        text = json.dumps(state, allow_nan=False)
        metadata = {"key": self.key, "state": text, "sha256": _digest(found, text)}
        with replacing(self.path) as draft:
            save_file(found, draft, metadata)
        self._last = time.monotonic()

    def load(self) -> tuple[dict[str, Tensor], Any] | None:
        """Tensors (on the CPU) and state; None where there is no usable file of this key."""
        try:
            with safe_open(self.path, "pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("key") != self.key:
                    return None
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            text = metadata["state"]
            if metadata["sha256"] != _digest(tensors, text):  # safetensors has no checksum
                return None
            return tensors, json.loads(text)
        except (OSError, SafetensorError, KeyError, ValueError):
            return None

    def remove(self) -> None:
        """The training's results are safe: its state is no longer needed."""
        self.path.unlink(missing_ok=True)


def _digest(tensors: dict[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
