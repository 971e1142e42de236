"""Fetching from a hub, in a process of its own: its libraries read where it is when imported.

    python -m benchmarks.toy.hub_fetch [[name, revision], ...]        # in JSON

Models' and data sets' (`datasets/` before the name) files go to `out/<name>`. The last line is
JSON: by name "here", or the one line that fishpal has to say.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.toy.hub_files import PINNED

ROOT = Path(__file__).resolve().parents[2]  # `project` would import torch
HERE = "here"


def hub_environment(url: str, place: Path) -> dict[str, str]:
    """Of a process that asks the hub at `url` and keeps its cache in `place`."""
    return os.environ | {
        "HF_ENDPOINT": url, "HF_HOME": str(place / "home"), "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_ETAG_TIMEOUT": "1", "OMP_NUM_THREADS": "1",
        "HF_HUB_DOWNLOAD_TIMEOUT": "1", "PYTHONPATH": str(ROOT), "NO_PROXY": "*",
    }  # fmt: skip


def start_fetch(url: str, place: Path, *names: str) -> subprocess.Popen[str]:
    """Fetch what is pinned into `place`."""
    jobs = json.dumps([[name, PINNED] for name in names])
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.toy.hub_fetch", jobs], cwd=place, text=True,
        env=hub_environment(url, place), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def fetch(url: str, place: Path, *names: str) -> dict[str, str]:
    """What was said of each name."""
    process = start_fetch(url, place, *names)
    said, errors = process.communicate(timeout=300)
    if process.returncode:
        raise RuntimeError(errors[-3000:])
    return json.loads(said.splitlines()[-1])


def written(place: Path, name: str) -> dict[str, bytes]:
    """The files that a fetch has put out."""
    return {path.name: path.read_bytes() for path in (place / "out" / name).iterdir()}


def _fetch_one(name: str, revision: str) -> None:
    from fishpal.common.kinds import MetricName
    from fishpal.params.catalog import Columns, HubTask, Sizes, Task
    from fishpal.params.sections import HubEncoder
    from fishpal.sources.encoder_files import fetch_encoder
    from fishpal.tasks.clean import build_splits, write_task
    from fishpal.tasks.rows import load_frames

    target = Path("out", name)
    if not name.startswith("datasets/"):
        fetch_encoder(HubEncoder(type="hub", name=name, revision=revision), target)
        return
    splits = {"train": "train", "test": "test"}
    path = name.partition("/")[2]
    source = HubTask(type="hub", path=path, revision=revision, splits=splits)
    columns = Columns(text=("text",), label="label")
    task = Task(source, columns, labels=(0, 1), sizes=Sizes(), metrics=(MetricName.ACCURACY,))
    write_task(build_splits(task, load_frames(source, columns), "rows"), target)


def main() -> None:
    from fishpal.common.errors import FishpalError

    # Both libraries wait for seconds between their tries; a wait's length is not what is tested.
    wait = time.sleep
    time.sleep = lambda seconds: wait(float(seconds) / 100)
    found = {}
    for name, revision in json.loads(sys.argv[1]):
        try:
            _fetch_one(name, revision)
            found[name] = HERE
        except FishpalError as error:
            found[name] = str(error)
    sys.stdout.write(f"{json.dumps(found)}\n")


if __name__ == "__main__":
    main()
