"""The passes over a sample with groups of candidates attached, on one process or several."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fishpal.common.kinds import FisherMode
from fishpal.common.progress import tqdm
from fishpal.fisher.accumulate import Accumulator, accumulate, combined
from fishpal.fisher.estimators import Scores, score_vector
from fishpal.fisher.gradients import LogitGradients, logit_gradients
from fishpal.fisher.sample import Sample
from fishpal.models.batching import collate
from fishpal.models.classifier import Batch, Classifier
from fishpal.models.processes import Processes
from fishpal.modules import CandidateModule
from fishpal.params.options import FisherOptions
from fishpal.records.grams import contrasts

Candidates = list[CandidateModule]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def _disturbs(candidates: Candidates) -> bool:
    return not all(module.starts_as_identity for module in candidates)


@dataclass(frozen=True)
class Measuring:
    """What is measured on what.

    `logits` (n, C) of the sample and the `features` (n, d) before the head are filled batch by
    batch. They end as those of the start, which modules that are no identity there would change
    (in mode joint they belong to it).
    """

    model: Classifier
    sample: Sample
    options: FisherOptions
    logits: Tensor
    features: Tensor

    def scores(self) -> Tensor:
        """∂ log p / ∂f at the observed labels, (n, C)."""
        return score_vector(self.logits, self.sample.labels)

    def groups(self, groups: list[Candidates], progress: bool) -> list[Accumulator]:
        """Every candidate's sums: one group after the other, those that disturb nobody last."""
        groups = sorted(groups, key=_disturbs, reverse=True)
        bare = self.options.mode == FisherMode.ISOLATED and _disturbs(groups[-1])
        passes = (1 if self.options.gram else 2) * len(groups) + bare
        processes = Processes.started(self.model.head.weight.device)
        steps, silent = passes * len(self.sample.batches), None if progress else True
        with torch.random.fork_rng(), tqdm(total=steps, desc="fisher", disable=silent) as bar:
            torch.manual_seed(self.options.seed)  # of dropout, where it is left on
            found = [self._group(candidates, processes, bar) for candidates in groups]
            if bare:
                self._bare(processes, bar)
        return [each for group in found for each in group]

    def _bare(self, processes: Processes, bar: tqdm) -> None:
        """Logits and features without any module."""
        self.logits.zero_()
        self.features.zero_()
        for index in processes.share(self.sample.batches):
            with torch.no_grad():
                self._pass(index)
            bar.update(processes.count)
        self._sum_over_processes([], processes)

    def _group(self, candidates: Candidates, processes: Processes, bar: tqdm) -> list[Accumulator]:
        """Run all batches with these candidates attached."""
        examples, outputs = self.logits.shape
        shape = (examples, max(outputs - 1, 1)) if self.options.gram else None
        dtype = torch.promote_types(self.model.head.weight.dtype, torch.float32)
        accumulators = [Accumulator(module, examples, shape, dtype) for module in candidates]
        self.logits.zero_()
        self.features.zero_()
        mine = processes.share(self.sample.batches)
        self.model.attach(candidates)
        self.model.train(self.options.dropout)  # fresh modules start with theirs on
        try:
            for index in mine:
                self._batch(accumulators, index)
                bar.update(processes.count)
            self._sum_over_processes(accumulators, processes)
            if not self.options.gram:  # the signs are known now: all gradients once more
                signs = [accumulator.signs() for accumulator in accumulators]
                for index in mine:
                    self._project(accumulators, signs, index)
                    bar.update(processes.count)
        finally:
            self.model.detach()
        if self.options.gram:
            scores = self.scores() @ torch.from_numpy(contrasts(outputs)).to(self.logits)
            for accumulator in accumulators:
                accumulator.project_rows(scores, self.sample.half)
        else:
            for accumulator in accumulators:
                accumulator.projections = processes.sum(accumulator.projections)
        return accumulators

    def _pass(self, index: list[int]) -> tuple[LogitGradients, Scores]:
        """A forward pass of one batch; keeps logits and features."""
        model, sample = self.model, self.sample
        device = model.head.weight.device
        batch: Batch = collate([sample.examples[i] for i in index], sample.pad_id)
        batch = {name: tensor.to(device) for name, tensor in batch.items()}
        features: list[Tensor] = []
        seen = model.head.register_forward_pre_hook(lambda _, inputs: features.extend(inputs))
        try:
            found = logit_gradients(
                model, list(model.candidates()), batch, DTYPES[self.options.precision]
            )
        finally:
            seen.remove()
        self.logits[index] = found.logits.float().cpu()
        self.features[index] = features[0].detach().float().cpu()
        return found, Scores.of(found.logits, batch["labels"], sample.uniform[index].to(device))

    def _batch(self, accumulators: list[Accumulator], index: list[int]) -> None:
        """Add one batch to the accumulators."""
        options, half = self.options, self.sample.half[index]
        found, scores = self._pass(index)
        half = half.to(found.logits.device)
        terms = scores.terms(options.estimator)
        if options.gram:
            columns = [column.expand_as(found.logits) for column in scores.basis.T]
            jacobian = list(found.gradients(columns))
            passes = combined(jacobian, [vector @ scores.basis for vector, _ in terms])
            for position, accumulator in enumerate(accumulators):
                accumulator.add_rows(torch.tensor(index), jacobian, position)
        else:
            passes = found.gradients([vector for vector, _ in terms])
        accumulate(accumulators, passes, terms, half)

    def _project(
        self, accumulators: list[Accumulator], signs: list[Tensor], index: list[int]
    ) -> None:
        """Set one batch's projections on the signs that all batches gave."""
        found, scores = self._pass(index)
        for gradients in found.gradients([scores.observed]):
            for accumulator, own, tensors in zip(accumulators, signs, gradients, strict=True):
                flat = torch.cat([tensors[name].flatten(1) for name in accumulator.sizes], dim=1)
                half = self.sample.half[index]
                accumulator.add_projections(torch.tensor(index), flat, half, own)

    def _sum_over_processes(self, accumulators: list[Accumulator], processes: Processes) -> None:
        """Replace every running sum by its sum over processes; what others measured is 0 here."""
        for shared in (self.logits, self.features):
            shared.copy_(processes.sum(shared))
        for accumulator in accumulators:
            for sums in (accumulator.squares, accumulator.sums):
                for name in sums:
                    sums[name] = processes.sum(sums[name])
            if accumulator.rows is not None:
                accumulator.rows = processes.sum(accumulator.rows)
