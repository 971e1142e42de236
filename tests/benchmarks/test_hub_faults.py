"""Faults of the hub strike a fetch, and what became of it is counted as it was."""

from __future__ import annotations

import random

import pytest

from benchmarks.faults import hub
from benchmarks.faults.hub_kinds import KILL, REFUSED
from benchmarks.toy.hub_server import Hub


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "KINDS", (KILL, REFUSED))
    with Hub() as server:
        bench = hub.Bench(tmp_path, server, hub.sources()[:1], random.Random(1))
        hub.observe(bench, bench.sources[0])
        yield bench


def test_a_killed_fetch_ends_with_the_same_bytes(bench):
    hub.strike(bench, 0)
    assert bench.part.counts == {KILL: {"faults": 1, "same": 1, "wrong": 0}}
    assert bench.ends == {"when run again": 1}
    assert not bench.part.findings and not bench.part.steps


def test_other_bytes_and_what_stays_broken_are_found(bench, monkeypatch):
    source = bench.sources[0]
    source.expected |= {"config.json": b"{}"}
    hub.strike(bench, 0)
    assert bench.part.counts[KILL]["silent"] == 1 and not bench.part.counts[KILL]["same"]
    assert "not ['config.json']" in bench.part.findings[0]
    monkeypatch.setattr(bench.hub, "start", lambda: None)  # it stays away
    bench.rng = random.Random(3)
    hub.strike(bench, 1)
    assert bench.part.counts[REFUSED]["manual"] and not bench.part.counts[REFUSED]["same"]
    assert bench.part.steps[hub.CLEAR] == bench.part.counts[REFUSED]["manual"]
