"""A pipeline of the project's shape whose stages take no torch: what the grid's faults strike.

    python stand_in.py <stage> <task> <method> <seed>

Its cells come out of `dvc`, the grid's clones and the shared cache as real ones do; only what they
compute is a file of numbers that every run makes the same.
"""

from __future__ import annotations

import ctypes
import hashlib
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

SECONDS = 0.5  # that a stage takes
BYTES = 200_000  # that it leaves
PIPELINE = """\
stages:
  hash_encoder:
    cmd: python -m stages.hash_source encoder
    outs: [artifacts/sources/encoder.json]
  hash:
    matrix: {task: "${grid.tasks}"}
    cmd: python -m stages.hash_source catalog.${item.task}
    outs: ["artifacts/sources/catalog.${item.task}.json"]
  encoder:
    cmd: python stand_in.py encoder
    deps: [artifacts/sources, stand_in.py]
    outs: [artifacts/encoder]
  train:
    matrix: &cells {task: "${grid.tasks}", method: "${grid.methods}", seed: "${grid.seeds}"}
    cmd: python stand_in.py trained ${item.task} ${item.method} ${item.seed}
    params: [train]
    deps: [artifacts/encoder, stand_in.py]
    outs: ["artifacts/trained/${item.task}/${item.method}/${item.seed}"]
  evaluate:
    matrix: *cells
    cmd: python stand_in.py evaluated ${item.task} ${item.method} ${item.seed}
    deps: [artifacts/encoder, "artifacts/trained/${item.task}/${item.method}/${item.seed}"]
    outs: ["artifacts/evaluated/${item.task}/${item.method}/${item.seed}"]
"""


def main(*cell: str) -> None:
    if sys.platform == "linux":  # as stages.runner does, which takes half a second to import
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    target = Path("artifacts", *cell)
    target.parent.mkdir(parents=True, exist_ok=True)
    time.sleep(SECONDS)
    text = "/".join(cell[1:]).encode()
    for path in sorted(Path("artifacts", "trained", *cell[1:]).glob("numbers")) * (len(cell) > 1):
        text += hashlib.sha256(path.read_bytes()).digest()
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as holder:
        draft = Path(holder, target.name)
        draft.mkdir()
        (draft / "numbers").write_bytes(random.Random(text).randbytes(BYTES))
        draft.rename(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
