"""Projections of the whole encoder's gradients, which the rate of full fine-tuning rests on.

No example's gradient, as large as the encoder, is ever held. With a weight w (B) on every
example's log p, ∇_θ Σ w log p = Σ_x w_x g_x is linear in w, so that the derivative of its product
with a sign vector s with respect to w is g_x · s of every example: a second backward pass.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from fishpal.common.progress import tqdm
from fishpal.fisher.estimators import score_vector
from fishpal.fisher.sample import Sample
from fishpal.models.batching import collate
from fishpal.models.classifier import Classifier
from fishpal.models.processes import Processes


def project_full(model: Classifier, sample: Sample, progress: bool) -> Tensor:
    """(n) float64, as `records.grams.Grams.full`; in the model's own dtype.

    Takes about four forward and backward passes over the sample, and memory for the weights five
    times over: sums over both halves, their signs, and one batch's gradient.
    """
    weights = list(model.encoder.parameters())
    processes = Processes.started(model.head.weight.device)
    mine, found = processes.share(sample.batches), torch.zeros(len(sample.examples)).double()
    steps, silent = 2 * len(mine), None if progress else True
    for weight in weights:
        weight.requires_grad_(True)
    try:
        # No other kernel of attention can be differentiated twice.
        with sdpa_kernel(SDPBackend.MATH), tqdm(total=steps, desc="full", disable=silent) as bar:
            halves = _half_gradients(model, sample, mine, weights, bar)
            halves = [[processes.sum(each) for each in half] for half in halves]
            signs = [[each.sign() for each in part] for part in halves]
            for index, along in _along(model, sample, mine, weights, signs, bar):
                found[index] = along[1 - sample.half[index], torch.arange(len(index))]
    finally:
        for weight in weights:
            weight.requires_grad_(False)
    return processes.sum(found)


def _half_gradients(
    model: Classifier,
    sample: Sample,
    batches: Sequence[list[int]],
    weights: Sequence[Tensor],
    bar: tqdm,
) -> list[list[Tensor]]:
    """Σ_x g_x over the examples of either half, by weight."""
    halves = [[torch.zeros_like(weight) for weight in weights] for _ in (0, 1)]
    for index in batches:
        values, half = _observed(model, sample, index), sample.half[index]
        for number in (0, 1):
            chosen = values[(half == number).to(values.device)].sum()
            keep = number == 0
            found = torch.autograd.grad(chosen, weights, retain_graph=keep, allow_unused=True)
            for total, gradient in zip(halves[number], found, strict=True):
                if gradient is not None:  # of a pooler that the classifier does not use
                    total += gradient
        bar.update()
    return halves


def _along(
    model: Classifier,
    sample: Sample,
    batches: Sequence[list[int]],
    weights: Sequence[Tensor],
    signs: Sequence[Sequence[Tensor]],
    bar: tqdm,
) -> Iterator[tuple[list[int], Tensor]]:
    """Every batch's g · s, (S, B) on the CPU, for each of the S sign vectors."""
    for index in batches:
        values = _observed(model, sample, index)
        share = torch.ones_like(values, requires_grad=True)
        total = (share * values).sum()
        found = torch.autograd.grad(total, weights, create_graph=True, allow_unused=True)
        rows = []
        for number, sign in enumerate(signs, 1):
            pairs = zip(found, sign, strict=True)
            product = torch.stack([(g * s).sum() for g, s in pairs if g is not None]).sum()
            (row,) = torch.autograd.grad(product, share, retain_graph=number < len(signs))
            rows.append(row.double().cpu())
        bar.update()
        yield index, torch.stack(rows)


def _observed(model: Classifier, sample: Sample, index: list[int]) -> Tensor:
    """v · f of a batch, (B), whose gradient is that of log p at the observed labels."""
    device = model.head.weight.device
    batch = collate([sample.examples[i] for i in index], sample.pad_id)
    batch = {name: tensor.to(device) for name, tensor in batch.items()}
    labels = batch.pop("labels")
    logits = model(**batch)
    return (score_vector(logits.detach(), labels) * logits).sum(dim=-1)
