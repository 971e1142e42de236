"""What the figures of `benchmarks.fisher` say of the engine against its rivals, in Markdown."""

from __future__ import annotations

import statistics
from typing import Any

import torch

from benchmarks.report import machine
from fishpal.common.kinds import ModuleKind
from fishpal.params.options import FisherOptions
from fishpal.reporting.markdown import table as markdown_table

Found = dict[str, list[dict[str, Any]]]  # by rival, a round's figures each
RIVALS = {
    "engine": "the engine, empirical Fisher",
    "engine_gram": "the engine as the pipeline runs it, kernels kept",
    "floor": "(c) batched forward + backward, no per-example gradients",
    "loop": "(b) one by one at true length",
    "thesis": "(a) one by one, padded to 128",
}
LOW = {"engine_bfloat16": "the engine, empirical Fisher, `fisher.precision: bfloat16`"}
KINDS = FisherOptions().kinds
EVERY = (*KINDS, ModuleKind.BIAS, ModuleKind.IA3)
HEADER = (
    "way", "CPU seconds", "examples/s", "time ÷ engine", "peak MiB", "above the loaded model",
)  # fmt: skip


def table(found: Found, task: str, examples: int) -> str:
    """The part of the report on the rivals, each with a list of its rounds' figures."""
    seconds = {rival: values(found, rival, "seconds") for rival in found}
    middle = {rival: statistics.median(each) for rival, each in seconds.items()}
    rows = []
    for rival, label in (RIVALS | LOW).items():
        if rival in found:
            peak, more = (max(values(found, rival, key)) for key in ("mib", "more"))
            low, high = min(seconds[rival]), max(seconds[rival])
            taken = f"{middle[rival]:.2f} ({low:.2f} to {high:.2f})"
            ratio = f"{middle[rival] / middle['engine']:.2f}"
            speed = f"{examples / middle[rival]:.0f}"
            rows.append([label, taken, speed, ratio, f"{peak:.0f}", f"{more:.0f}"])
    about = (
        f"{examples} examples of `{task}`, {', '.join(KINDS)} at every layer of the embedded"
        f" encoder, batches of {FisherOptions().batch_size}; CPU time of one thread on"
        f" {machine()}, torch {torch.__version__}; median of {len(seconds['engine'])} rounds"
        " (range), every rival in a process of its own."
    )
    said = [about, markdown_table(HEADER, rows), *_sentences(found, middle)]
    return "\n\n".join(said) + "\n"


def _sentences(found: Found, middle: dict[str, float]) -> list[str]:
    """How exact the engine is, and how fast."""
    worst = max(_apart(found, "loop"))
    said = [
        f"Largest relative difference of a candidate's trace, engine against (b): {worst:.1e}.",
        f"The engine takes {middle['engine'] / middle['floor']:.2f} × the time of the floor (c),"
        f" and is {middle['thesis'] / middle['engine']:.1f} × faster than (a) and"
        f" {middle['loop'] / middle['engine']:.1f} × faster than (b).",
    ]
    if "engine_bfloat16" in found:
        apart = _apart(found, "engine_bfloat16")
        faster = middle["engine"] / middle["engine_bfloat16"]
        said.append(
            f"In bfloat16 it is {faster:.2f} × as fast; traces differ by {max(apart):.1%} at most,"
            f" {statistics.median(apart):.1%} in the median."
        )
    return said


def every_kind(found: Found) -> str:
    """A line on all kinds against their floor, which takes a pass a kind."""
    engine = statistics.median(values(found, "engine", "seconds"))
    floor = statistics.median(values(found, "floor", "seconds"))
    return (
        f"With {', '.join(EVERY)}, of which all but prefix share a pass: {engine:.2f} against"
        f" {floor:.2f} s of the floor, {engine / floor:.2f} ×.\n"
    )


def values(found: Found, rival: str, key: str) -> list[float]:
    """A figure of every round of a rival."""
    return [float(run[key]) for run in found[rival]]


def _apart(found: Found, rival: str) -> list[float]:
    """Relative differences of a rival's traces to the engine's."""
    own, engine = (found[name][0]["traces"] for name in (rival, "engine"))
    return [abs(own[key] / engine[key] - 1) for key in engine]
