"""Scores learnt on some tasks, to be tested on another.

Ridge regression of the plans' results, standardised task by task so that tasks weigh alike, on
features of a plan. `placement` knows only where each kind stands; `blend` also what the criteria
say, as ranks within the task, since their units differ from task to task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from studies.criteria.analysis.agreement import ranks
from studies.criteria.design.names import letter
from studies.criteria.design.plans import KINDS

Array = NDArray[np.float64]
PENALTY = 1.0  # scikit-learn's default; never tuned
BLENDED = ("snr", "kernel", "mean", "adam", "parameters")


def placement(words: Sequence[str]) -> Array:
    """(plans, 6): each kind's share of the layers, and how far up its layers stand.

    The second is Σ_l [kind at l] · (l / (L − 1) − ½) / L: 0 for a uniform plan.
    """
    rows = []
    for word in words:
        depth = np.linspace(-0.5, 0.5, len(word))
        chosen = [np.array([each == letter(kind) for each in word]) for kind in KINDS]
        rows.append(
            [*(each.mean() for each in chosen), *((each @ depth) / len(word) for each in chosen)]
        )
    return np.array(rows)


def blend(words: Sequence[str], scores: Mapping[str, Array]) -> Array:
    """`placement` and the ranks of the criteria's scores."""
    signals = [ranks(scores[name]) for name in BLENDED if name in scores]
    return np.column_stack([placement(words), *signals])


def fit_and_score(train: Sequence[tuple[Array, Array]], test: Array) -> Array:
    """Fit on (features, mean results) of some tasks; the scores of another's plans."""
    inputs = np.vstack([features for features, _ in train])
    targets = np.concatenate([_standardised(results) for _, results in train])
    scores: Array = Ridge(alpha=PENALTY).fit(inputs, targets).predict(test)
    return scores


def _standardised(values: Array) -> Array:
    spread = values.std()
    result: Array = (values - values.mean()) / (spread if spread > 0 else 1.0)
    return result
