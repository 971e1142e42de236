"""The head's start, the same for measuring and for training."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from fishpal.common.kinds import HeadInit
from fishpal.encoders.encoder import Encoder
from fishpal.encoders.pooling import features_of
from fishpal.encoders.ports import config_of
from fishpal.models.batching import by_length, collate
from fishpal.models.classifier import Classifier
from fishpal.params.options import HeadOptions
from fishpal.records.examples import Example, labels
from fishpal.records.facts import HeadFacts
from fishpal.records.task import TokenisedTask

ROWS = 256  # that a random head's mean answer is told from: it is then off by 1/16 of their spread
STEPS = 20  # of a fixed point that each answer's spread slows; two do where texts hardly differ
DIGITS = 4


class Head(nn.Linear):
    """A linear head, (C, d) or (C, 3 d), and how it started, which a Fisher table records."""

    def __init__(self, features: int, facts: HeadFacts) -> None:
        super().__init__(features, facts.outputs)
        self.facts = facts


def start_head(
    encoder: Encoder, task: TokenisedTask, options: HeadOptions, batch_size: int = 64
) -> Head:
    """A head that starts at random, or as a probe fitted on the fit part.

    At random, its bias is such that the mean answer is the best constant one, the frequencies of
    the fit part's classes or the mean 0 of a regression: else the gradients that are measured say
    first of all that it is another, which no text tells (and with labels shuffled pass for a
    signal, `selection.reliability`), and training begins with learning it.

    The seed of the random start is the section's own, not a cell's, so that the head that scores
    the candidates is the head that every seed's training starts from.
    """
    compares = options.compares(pair=task.facts.pair, regression=task.facts.labels is None)
    facts = HeadFacts(options.init, options.seed, task.facts.outputs, compares)
    head = Head(features_of(encoder.facts.hidden, compares), facts)
    generator = torch.Generator().manual_seed(options.seed)
    # ModernBERT and ELECTRA name it alike; DistilBERT's 0.02 is the value of all of them.
    std = float(getattr(config_of(encoder.model), "initializer_range", 0.02))
    nn.init.normal_(head.weight, 0.0, std, generator=generator)
    nn.init.zeros_(head.bias)
    start = _fit_probe if options.init == HeadInit.PROBE else _fit_bias
    start(Classifier(encoder, head), task, batch_size)
    return head


@torch.no_grad()
def _fit_bias(model: Classifier, task: TokenisedTask, batch_size: int) -> None:
    """The bias by which the mean answer over `ROWS` of the fit part is the best constant one.

    Rounded, so that the order in which a machine adds up decides nothing.
    """
    from scipy.special import log_softmax, logsumexp  # here: slow to import

    rows = np.linspace(0, len(task.fit) - 1, min(len(task.fit), ROWS)).astype(int)
    features = _features(model, [task.fit[i] for i in rows.tolist()], task, batch_size)
    outputs = features @ model.head.weight.double().cpu().numpy().T
    bias = -outputs.mean(axis=0)
    if task.facts.labels is not None:
        wanted = np.log(task.class_shares())
        for _ in range(STEPS):
            answers = outputs + bias
            bias += wanted - logsumexp(log_softmax(answers, axis=1), axis=0) + np.log(len(rows))
    model.head.bias.copy_(torch.from_numpy(bias.round(DIGITS)))


def _features(
    model: Classifier, examples: Sequence[Example], task: TokenisedTask, batch_size: int
) -> np.ndarray:
    """What the head reads of examples, (n, d) or (n, 3 d), in eval mode."""
    model.eval()
    device = next(model.encoder.parameters()).device
    features = np.empty((len(examples), model.head.in_features))
    for rows in by_length(examples, batch_size):
        batch = collate([examples[i] for i in rows], task.facts.pad_id)
        inputs = {k: v.to(device) for k, v in batch.items() if k != "labels"}
        features[rows] = model.features(**inputs).double().cpu().numpy()
    return features


@torch.no_grad()
def _fit_probe(model: Classifier, task: TokenisedTask, batch_size: int) -> None:
    """Fit the head on frozen pooled features: logistic regression, or ridge for a regression.

    scikit-learn's default penalty (C = 1, α = 1) on features as they are; in eval mode.
    """
    from sklearn.linear_model import LogisticRegression, Ridge

    features = _features(model, task.fit, task, batch_size)
    if task.facts.labels is None:
        probe = Ridge().fit(features, labels(task.fit))
        weight, bias = probe.coef_[None], np.atleast_1d(probe.intercept_)
    else:
        probe = LogisticRegression(max_iter=1000).fit(features, labels(task.fit))
        weight, bias = _all_classes(probe, task.facts.outputs)
    model.head.weight.copy_(torch.from_numpy(weight))
    model.head.bias.copy_(torch.from_numpy(bias))


def _all_classes(probe: Any, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's coefficients as (C, d) and (C).

    For two classes it fits the difference of the logits; half of it goes to each side. A class
    that the fit part lacks gets the lowest bias and no weight.
    """
    coef, intercept, classes = probe.coef_, probe.intercept_, probe.classes_
    if len(classes) == 2:
        coef, intercept = np.vstack([-coef, coef]) / 2, np.hstack([-intercept, intercept]) / 2
    weight = np.zeros((outputs, coef.shape[1]))
    bias = np.full(outputs, intercept.min())
    weight[classes], bias[classes] = coef, intercept
    return weight, bias
