"""What a code stage notes: the bytes of the sources, no more."""

from __future__ import annotations

import hashlib
import subprocess
import sys

from fishpal.common.files import read_json
from stages.hash_code import hash_code
from tests.project.closure import ROOT


def test_every_byte_of_the_sources_counts_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    room = tmp_path / "room"
    (room / "inner" / "__pycache__").mkdir(parents=True)
    texts = {"room/a.py": "a = 1\n", "room/inner/b.txt": "b", "alone.py": "c\n"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "other.py").write_text("not asked for\n")
    expected = {n: hashlib.sha256(texts[n].encode()).hexdigest() for n in sorted(texts)}
    found = hash_code(["room", "alone.py"])
    assert found == expected and list(found) == list(expected)
    (room / "inner" / "__pycache__" / "b.pyc").write_text("left by a run\n")
    assert hash_code(["room", "alone.py"]) == expected
    (room / "a.py").write_text("a = 1  # a comment\n")
    assert hash_code(["room", "alone.py"]) != expected


def test_the_stage_writes_the_same_bytes_again(tmp_path):
    code = f"import sys; sys.path.append({str(ROOT)!r}); from stages.hash_code import main"
    code += f"; main('metrics', {str(ROOT / 'fishpal' / 'metrics.py')!r})"
    noted = []
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
        noted.append((tmp_path / "artifacts/code/metrics.json").read_bytes())
    assert noted[0] == noted[1]
    assert list(read_json(tmp_path / "artifacts/code/metrics.json")) == [
        str(ROOT / "fishpal/metrics.py")
    ]
