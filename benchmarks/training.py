"""Speed of training against transformers' Trainer with peft and with adapters, on one thread.

    python -m benchmarks.training [--precisions float32 bfloat16] [--updates 40] [--rounds 3]

Needs the default pipeline's artifacts (`make report`). All train the same plan (LoRA, or the
bottleneck adapter, at every layer) on the same batches, grouped by length, without evaluations,
each in a process of its own, in turns. What counts is CPU time, which a busy machine disturbs
least. `reports/benchmarks.md` gets the ratios. adapters 1.3 needs transformers 4.57: both are put
into a folder of their own, and left out where that fails.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import time
from dataclasses import replace

import torch
from tqdm import tqdm

from benchmarks.report import machine, write_part
from benchmarks.toy.project import ROOT
from benchmarks.work import BATCH_SIZE, WARM, Work, answer
from fishpal.common.files import replacing
from fishpal.common.kinds import ModuleKind
from fishpal.encoders.encoder import load_encoder
from fishpal.models.head import start_head
from fishpal.models.planned import plan_model
from fishpal.params.options import HeadOptions, TrainOptions
from fishpal.records.plan import Plan, Reason
from fishpal.reporting.markdown import table as markdown_table
from fishpal.training.run import TrainingRun
from fishpal.training.train import start_accelerator

OTHERS = ROOT / "artifacts" / "benchmark" / "adapters"
PACKAGES = ("adapters==1.3.0", "transformers==4.57.6", "huggingface-hub<1", "tokenizers<0.23",
            "datasets==4.0.0")  # fmt: skip
SIDES = {
    "fishpal": "fishpal",
    "dropout": "fishpal, `encoder_dropout: true`",
    "peft": "Trainer + peft",
    "peft_still": "Trainer + peft, encoder without dropout",
    "adapters": "Trainer + adapters",
}
PEFT = ("peft", "peft_still")  # has no bottleneck adapter
RIVALS = (*PEFT, "adapters")
Seconds = dict[tuple[str, str, str], list[float]]  # by plan, precision and side, a value a round


def start_run(work: Work, encoder_dropout: bool) -> TrainingRun:
    """A training of the work at its start."""
    encoder, task = load_encoder(work.encoder), replace(work.task, selection=())
    layers = (ModuleKind(work.plan),) * encoder.facts.layers
    plan = Plan(task.facts.name, work.plan, encoder.facts, layers, Reason("uniform"))
    options = TrainOptions(
        precision=work.precision,  # type: ignore[arg-type]
        encoder_dropout=encoder_dropout, device="cpu", batch_size=BATCH_SIZE,
    )  # fmt: skip
    accelerator = start_accelerator(options, 0)
    model = plan_model(encoder, start_head(encoder, task, HeadOptions()), plan, 0)
    return TrainingRun(model, plan, task, options, accelerator, len(work.batches))


def run_fishpal(work: Work, encoder_dropout: bool) -> float:
    """CPU seconds of the updates after the warm-up."""
    run, start = start_run(work, encoder_dropout), 0.0
    for update, batch in enumerate(work.batches):
        if update == WARM:
            start = time.process_time()
        run.step([work.examples[row] for row in batch], batch)
    return time.process_time() - start


def with_adapters() -> bool:
    """Put adapters and its transformers into their folder, unless they are there."""
    if OTHERS.is_dir():
        return True
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", *PACKAGES]
    OTHERS.parent.mkdir(parents=True, exist_ok=True)
    try:
        with replacing(OTHERS) as draft:
            subprocess.run([*command, "--target", draft], check=True)
    except subprocess.CalledProcessError:
        return False
    return True


class Side:
    """One way of training one plan, in a process with one thread that waits for its turns."""

    def __init__(self, plan: str, precision: str, side: str, *work: str) -> None:
        module = "benchmarks.rivals" if side in RIVALS else "benchmarks.training"
        given = [side, plan, precision, *work]
        path = [str(OTHERS), str(ROOT)] if side == "adapters" else [str(ROOT)]
        env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(path)}
        command = [sys.executable, "-m", module, *([] if side in RIVALS else ["--side"]), *given]
        self.name, pipe = " ".join(given), subprocess.PIPE
        self.process = subprocess.Popen(
            command, env=env, text=True, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL
        )

    def seconds(self) -> float:
        """Train once more; the CPU seconds."""
        assert self.process.stdin and self.process.stdout
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name}: ended with {self.process.wait()}")
        return float(line)


def cells(plans: list[str], precisions: list[str], adapters: bool) -> list[tuple[str, str, str]]:
    """Every plan, precision and side that goes together."""
    return [
        (plan, precision, side)
        for plan in plans
        for precision in precisions
        for side in SIDES
        if (side not in PEFT or plan != "adapter") and (adapters or side != "adapters")
    ]


def lines(found: Seconds, examples: int) -> list[list[str]]:
    rows = []
    for (plan, precision, side), seconds in found.items():
        own = found[plan, precision, "fishpal"]
        ratios = sorted(rival / mine for rival, mine in zip(seconds, own, strict=True))
        middle = statistics.median(seconds)
        spread = f"{examples / max(seconds):.1f} to {examples / min(seconds):.1f}"
        ratio = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        rows.append([plan, precision, SIDES[side], f"{examples / middle:.1f} ({spread})", ratio])
    return rows


def report(found: Seconds, task: str, examples: int, rounds: int) -> str:
    """The part of the report in Markdown."""
    header = ["plan at every layer", "precision", "way", "examples a CPU second", "time ÷ fishpal"]
    skipped = "" if any("adapters" in key for key in found) else " adapters was left out."
    return (
        f"{examples} examples of `{task}` in batches of {BATCH_SIZE}, the embedded encoder; CPU"
        f" time of one thread on {machine()}; torch {torch.__version__}. Median of {rounds} rounds"
        f" (range), every way in a process of its own, on the same batches.{skipped}\n\n"
        + markdown_table(header, lines(found, examples))
        + "\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of training against its rivals.")
    parser.add_argument("--task", default="movies")
    parser.add_argument("--plans", nargs="+", default=["lora", "adapter"])
    parser.add_argument("--precisions", nargs="+", default=["float32"])
    parser.add_argument("--updates", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-adapters", action="store_true")
    parser.add_argument("--side", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        side, *rest = given.side
        answer(lambda work: run_fishpal(work, side == "dropout"), rest)
        return
    wanted = cells(given.plans, given.precisions, not given.without_adapters and with_adapters())
    sides = {cell: Side(*cell, given.task, str(given.updates)) for cell in wanted}
    found: Seconds = {cell: [] for cell in wanted}
    with tqdm(total=given.rounds * len(wanted), desc="benchmark", disable=None) as bar:
        for _ in range(given.rounds):  # in turn, so that a busy moment hits all alike
            for cell, side in sides.items():
                found[cell].append(side.seconds())
                bar.update()
    for side in sides.values():
        side.process.communicate()  # closes its input, which ends it
    examples = Work.of("lora", "float32", given.task, str(given.updates)).measured
    write_part("Benchmarks of training", report(found, given.task, examples, given.rounds))


if __name__ == "__main__":
    main()
