"""Whether a mean gradient is more than noise: what one half of the examples says of the other.

With ḡ_A the mean gradient over half A, an example x of half B has u'(x) = g(x) · sign(ḡ_A). Where
the gradients are noise, sign(ḡ_A) is a random direction to x and u' has mean 0; where half A tells
the way down for half B, it is positive. So z = mean(u') / (sd(u') √(1 + 2/π) / √n) over all
examples, each projected on the sign of the half that it is not in, is a test statistic of the
signal that every criterion at the start, and every rate, rests on.

The two halves' means of u' are no two draws: in each coordinate one is a · sign(b), the other
b · sign(a), whose covariance for independent normal a and b is E|a| E|b| = 2/π of their variance.

What no text tells has to be out of the gradients: the head starts at the constant answer
(`models.head`), or the classes' shares pass for a signal.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fishpal.common.choices import Choice, names_of
from fishpal.records.grams import Grams

NOISE = 2.0  # about the 97.5 % quantile of z without a signal
SPREAD = math.sqrt(1 + 2 / math.pi)  # of the halves' mean, against that of independent ones


def z_score(across: NDArray[np.float64]) -> float:
    """z of projections on the other half's sign, (n); 0 where they do not differ."""
    spread = SPREAD * float(across.std(ddof=1))
    return float(across.mean()) / (spread / float(np.sqrt(len(across)))) if spread > 0 else 0.0


def reliability(choices: Sequence[Choice], grams: Grams) -> float | None:
    """z of a plan's gradients taken together; None for an empty plan or without projections."""
    chosen = names_of(choices)
    if not chosen or any(key not in grams.projections for key in chosen):
        return None
    return z_score(np.sum([grams.projections[key] for key in chosen], axis=0))
