"""The clone that faults strike: its task comes out of a wheel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.faults.package_index import MEMBER, NAME, VERSION, PackageIndex
from benchmarks.toy.clone import Clone


def prepare(folder: Path, index: PackageIndex) -> Path:
    """The clone that all others are copies of: its task comes out of a wheel."""
    root = folder / "template"
    root.mkdir()
    clone = Clone(root, warm=False)
    data = root / "data" / "toy"
    rows = [(data / f"{split}.jsonl").read_bytes() for split in ("train", "test")]
    index.start(folder, b"".join(rows))

    def packaged(params: dict[str, Any]) -> None:
        params["grid"]["methods"] = ["fishpal", "lora"]
        params["catalog"]["toy"]["source"] = {
            "type": "package", "package": NAME, "version": VERSION, "sha256": index.sha256,
            "file": MEMBER, "split": {"shares": {"train": 0.7, "test": 0.3}},
        }  # fmt: skip
        params["train"]["epochs"] = 20

    clone.edit(packaged)
    clone.git("add", "-A")
    clone.git("commit", "-q", "-m", "packaged")
    return root
