"""The benchmarks that need no artifacts run, on a CPU and small."""

from __future__ import annotations

import re
import subprocess
import sys

from benchmarks import gpu
from benchmarks.scale import Figure, exponent
from tests.reporting.artifact_tree import rows_below


def test_gpu_runs_on_a_cpu_and_its_checks_hold(tmp_path):
    target = tmp_path / "gpu.md"
    assert gpu.main(["--device", "cpu", "--tiny", "--examples", "4"], str(target)) == 0
    held = rows_below(target.read_text(), "## What must hold")
    assert len(held) == 6 and {row[-1] for row in held.values()} == {"yes"}
    assert "bfloat16" in rows_below(target.read_text(), "## Training LoRA")["Trainer + peft"]
    seeds = rows_below(target.read_text(), "## Several seeds")["together"]
    assert seeds[:2] == ["2", "bfloat16"], "the last of 1 and 2, in both precisions"


def test_scale_writes_an_exponent_a_series(tmp_path):
    target = tmp_path / "scale.md"
    start = "import sys; from benchmarks.scale import main; main(sys.argv[1:-1], sys.argv[-1])"
    names = ["--tiny", "--only", "shuffle", "empirical"]
    # of its own, since it forks
    subprocess.run([sys.executable, "-c", start, *names, str(target)], check=True)
    lines = [line for line in target.read_text().splitlines() if line.startswith("| ")]
    assert len(lines) == 4
    assert all(re.search(r"-?\d\.\d\d \(\S+ to \S+\)", line) for line in lines[2:])


def test_an_exponent_is_that_of_the_last_decade():
    figures = [Figure(n, 5.0 if n < 100 else 2e-3 * n**2, 0.0) for n in (1, 10, 100, 300, 1000)]
    assert exponent(figures, lambda figure: figure.seconds) == "2.00 (100 to 1,000)"
