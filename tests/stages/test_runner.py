"""How a stage ends."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from benchmarks.toy.project import ROOT
from fishpal.common.errors import FishpalError
from stages.runner import parse_seed

STAGE = """
import atexit, os, signal, sys
from stages.runner import run
atexit.register(os.kill, os.getpid(), signal.SIGTERM)
def main(params):
    {}
run(main)
"""


@pytest.mark.parametrize(
    ("body", "said"),
    [("pass", ""), ("os.kill(os.getpid(), signal.SIGTERM)", ""), ("sys.exit('said')", "said\n")],
)
def test_terminating_an_ending_stage_is_quiet(body, said):
    """As happens where torch takes a second to take itself down."""
    done = subprocess.run(
        [sys.executable, "-c", STAGE.format(body)], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (-signal.SIGTERM, said)


@pytest.mark.parametrize("text", ["-1", "00", "1.0", " 1", "4294967296", "9" * 5000, "٣", ""])
def test_a_seed_has_one_spelling(text):
    assert parse_seed("4294967295") == 2**32 - 1 and parse_seed("0") == 0
    with pytest.raises(FishpalError, match="allowed: integers from 0 below"):
        parse_seed(text)
