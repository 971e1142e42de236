"""The Fisher engine: every candidate's statistics in one pass a kind over a few examples."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor

from fishpal.common.errors import DataError, caution
from fishpal.common.kinds import Estimator, FisherMode
from fishpal.common.progress import tqdm
from fishpal.encoders.encoder import Encoder
from fishpal.fisher.accumulate import Accumulator, Scores, accumulate_jacobian, accumulate_scores
from fishpal.fisher.gradients import logit_gradients
from fishpal.models.batching import by_length, collate
from fishpal.models.classifier import Batch, Classifier, pick_device
from fishpal.models.head import Head
from fishpal.modules import CandidateModule
from fishpal.modules.attach import build_module
from fishpal.params.options import FisherOptions, ModuleOptions
from fishpal.records.examples import Example
from fishpal.records.fisher_table import VERSION, FisherTable
from fishpal.records.grams import Grams
from fishpal.records.task import TokenisedTask

Candidates = list[CandidateModule]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Sample:
    """The examples that are measured, cut into batches of similar length.

    `uniform`: one number in [0, 1) an example, for the `sampled` estimator; drawn in the
    sample's order, so that batches do not change it.
    """

    examples: Sequence[Example]
    batches: list[list[int]]
    uniform: Tensor
    pad_id: int


def measure_fisher(
    encoder: Encoder,
    head: Head,
    task: TokenisedTask,
    modules: ModuleOptions,
    options: FisherOptions,
    *,
    progress: bool = True,
) -> tuple[FisherTable, Grams]:
    """Measure every (layer, kind) candidate at its start, in eval mode (but see `dropout`).

    Under torchrun the batches are shared out over the processes (through accelerate), and
    every process returns the whole table.

    Args:
        encoder: from `load_encoder`; nothing of it changes.
        head: the head that training starts from (`start_head`).
        task: of its fit part `options.examples` are drawn (all, where it has fewer).

    Returns:
        The table, and the kernels (empty but for logits and labels unless `options.gram`).

    Raises:
        AttachError: where the encoder cannot take one of the kinds, or is in use.
        DataError: where `fit` has fewer than two examples.
    """
    task.check(encoder.limits)
    device = pick_device(options.device)
    _warn_of_odd_options(modules, options, encoder.facts.hidden, device)
    encoder.to(device)
    model = Classifier(encoder, head.to(device))
    model.train(options.dropout).requires_grad_(False)
    sample = draw_sample(task, options)
    facts, count = encoder.facts, len(sample.examples)
    logits = torch.zeros(count, task.facts.outputs)
    measuring = _Measuring(model, sample, options, logits)
    done = measuring.groups(_groups(model, modules, options), progress)
    found = {(each.layer, each.kind): each for each in done}
    keys = [(layer, kind) for layer in range(facts.layers) for kind in options.kinds]
    table = FisherTable(
        version=VERSION,
        task=task.facts.name,
        encoder=facts,
        head=head.facts,
        modules=modules,
        kinds=options.kinds,
        estimator=options.estimator,
        mode=options.mode,
        examples=count,
        seed=options.seed,
        gram=options.gram,
        rows=tuple(found[key].row(count) for key in keys),
    )
    kernels = {key: found[key].gram().float().numpy() for key in keys} if options.gram else {}
    labels = np.array([example.label for example in sample.examples])
    return table, Grams(logits.numpy(), labels, kernels)


def _warn_of_odd_options(
    modules: ModuleOptions, options: FisherOptions, hidden: int, device: torch.device
) -> None:
    if options.precision == "float16" and device.type == "cpu":
        caution("fisher.precision is float16 on a CPU: small gradients vanish; bfloat16 keeps them")
    sizes = {"lora.rank": modules.lora.rank, "adapter.bottleneck": modules.adapter.bottleneck}
    for name, size in sizes.items():
        if size > hidden:
            caution(
                f"modules.{name} is {size}, above the encoder's width {hidden}: it gains nothing"
            )


def draw_sample(task: TokenisedTask, options: FisherOptions) -> Sample:
    """Draw `options.examples` of the fit part, in its order, by `options.seed`."""
    fit, facts = task.fit, task.facts
    if len(fit) < 2:
        raise DataError(f"task {facts.name}: fit has {len(fit)} examples; allowed: 2 or more")
    if options.examples > len(fit):
        caution(f"task {facts.name}: fisher.examples is {options.examples}; fit has {len(fit)}")
    rng = np.random.default_rng(options.seed)
    chosen = np.sort(rng.permutation(len(fit))[: options.examples]).tolist()
    examples = [fit[i] for i in chosen]
    uniform = torch.from_numpy(rng.random(len(examples)))
    return Sample(examples, by_length(examples, options.batch_size), uniform, facts.pad_id)


def _groups(model: Classifier, sizes: ModuleOptions, options: FisherOptions) -> list[Candidates]:
    """Every candidate at its start, in groups that are measured together, as the mode says."""
    shapes, layers = model.source.shapes, range(model.source.facts.layers)
    groups: dict[object, Candidates] = {}
    for layer, kind in product(layers, options.kinds):
        module = build_module(kind, layer, shapes[layer], sizes, options.seed).to(model.head.weight)
        # Kinds that start as the identity disturb nobody, so they can share one pass.
        alone = options.mode == FisherMode.ISOLATED and not module.starts_as_identity
        groups.setdefault(kind if alone else None, []).append(module)
    return list(groups.values())


@dataclass(frozen=True)
class _Measuring:
    """What is measured on what; `logits` (n, C) of the sample are filled batch by batch."""

    model: Classifier
    sample: Sample
    options: FisherOptions
    logits: Tensor

    def groups(self, groups: list[Candidates], progress: bool) -> list[Accumulator]:
        """Every candidate's sums: one group after the other."""
        steps, silent = len(groups) * len(self.sample.batches), None if progress else True
        with torch.random.fork_rng(), tqdm(total=steps, desc="fisher", disable=silent) as bar:
            torch.manual_seed(self.options.seed)  # of dropout, where it is left on
            return [each for candidates in groups for each in self._group(candidates, bar)]

    def _group(self, candidates: Candidates, bar: tqdm) -> list[Accumulator]:
        """Run all batches with these candidates attached."""
        weight, (examples, outputs) = self.model.head.weight, self.logits.shape
        rank, world = _process(weight.device)
        shape = (examples, max(outputs - 1, 1)) if self.options.gram else None
        dtype = torch.promote_types(weight.dtype, torch.float32)
        accumulators = [Accumulator(module, shape, dtype) for module in candidates]
        self.logits.zero_()
        self.model.attach(candidates)
        try:
            for number, index in enumerate(self.sample.batches):
                if number % world == rank:
                    self.logits[index] = self._batch(accumulators, index)
                bar.update()
        finally:
            self.model.detach()
        if world > 1:
            _sum_over_processes(accumulators, self.logits, weight.device)
        return accumulators

    def _batch(self, accumulators: list[Accumulator], index: list[int]) -> Tensor:
        """Add one batch to the accumulators; its logits (B, C) on the CPU."""
        model, sample, options = self.model, self.sample, self.options
        device = model.head.weight.device
        batch: Batch = collate([sample.examples[i] for i in index], sample.pad_id)
        batch = {name: tensor.to(device) for name, tensor in batch.items()}
        found = logit_gradients(model, list(model.candidates()), batch, DTYPES[options.precision])
        scores = Scores.of(found.logits, batch["labels"], sample.uniform[index].to(device))
        if options.gram or options.estimator == Estimator.EXACT:
            columns = [column.expand_as(found.logits) for column in scores.basis.T]
            jacobian = list(found.gradients(columns))
            accumulate_jacobian(accumulators, jacobian, scores, options.estimator)
            if options.gram:
                for position, accumulator in enumerate(accumulators):
                    accumulator.add_rows(torch.tensor(index), jacobian, position)
        else:
            sampled = options.estimator == Estimator.SAMPLED
            vectors = [scores.observed, scores.sampled] if sampled else [scores.observed]
            accumulate_scores(accumulators, found.gradients(vectors), options.estimator)
        return found.logits.float().cpu()


def is_main_process() -> bool:
    """True in the one process that should write files."""
    return int(os.environ.get("RANK", "0")) == 0


def _process(device: torch.device) -> tuple[int, int]:
    """This process's rank and the number of processes, (0, 1) where none were launched."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return 0, 1
    from accelerate import PartialState

    state = PartialState(cpu=device.type == "cpu")
    return state.process_index, state.num_processes


def _sum_over_processes(
    accumulators: list[Accumulator], logits: Tensor, device: torch.device
) -> None:
    """Replace every running sum by its sum over processes; what others measured is zero here."""
    from accelerate.utils import reduce

    logits.copy_(reduce(logits.to(device), "sum"))
    for accumulator in accumulators:
        for sums in (accumulator.squares, accumulator.sums):
            for name in sums:
                sums[name] = reduce(sums[name], "sum")
        if accumulator.rows is not None:
            accumulator.rows = reduce(accumulator.rows.to(device), "sum").cpu()
