"""The head's start, the same for measuring and for training."""

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
from fishpal.records.examples import labels
from fishpal.records.facts import HeadFacts
from fishpal.records.task import TokenisedTask


class Head(nn.Linear):
    """A linear head, (C, d) or (C, 3 d), and how it started, which a Fisher table records."""

    def __init__(self, features: int, facts: HeadFacts) -> None:
        super().__init__(features, facts.outputs)
        self.facts = facts


def start_head(
    encoder: Encoder, task: TokenisedTask, options: HeadOptions, batch_size: int = 64
) -> Head:
    """A head that starts at random, or as a probe fitted on the fit part.

    At random, its bias is that of the best constant answer, log frequencies of the fit part's
    classes or the mean 0 of a regression: else the gradients that are measured say first of all
    that the classes' shares are not equal, which no text tells (and with labels shuffled pass for
    a signal, `selection.reliability`), and training begins with learning them.

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
    if task.facts.labels is not None:
        head.bias.data.copy_(torch.from_numpy(np.log(task.class_shares())))
    if options.init == HeadInit.PROBE:
        _fit_probe(Classifier(encoder, head), task, batch_size)
    return head


@torch.no_grad()
def _fit_probe(model: Classifier, task: TokenisedTask, batch_size: int) -> None:
    """Fit the head on frozen pooled features: logistic regression, or ridge for a regression.

    scikit-learn's default penalty (C = 1, α = 1) on features as they are; in eval mode.
    """
    from sklearn.linear_model import LogisticRegression, Ridge

    model.eval()
    device = next(model.encoder.parameters()).device
    features = np.empty((len(task.fit), model.head.in_features))
    for rows in by_length(task.fit, batch_size):
        batch = collate([task.fit[i] for i in rows], task.facts.pad_id)
        inputs = {k: v.to(device) for k, v in batch.items() if k != "labels"}
        features[rows] = model.features(**inputs).double().cpu().numpy()
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
