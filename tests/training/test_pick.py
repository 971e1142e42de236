"""Which look's weights are kept: by a plain loop over all looks."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from fishpal.training.pick import Pick


def latest_not_shown_worse(looks):
    """The last look that is at most a standard error above the lowest of those before it, unless
    a lower one comes after it."""
    kept = 0
    for i, mine in enumerate(looks):
        means = [statistics.fmean(each) for each in looks[: i + 1]]
        low = looks[means.index(min(means))]
        more = [a - b for a, b in zip(mine, low, strict=True)]
        error = statistics.stdev(more) / math.sqrt(len(more))
        if low is mine or statistics.fmean(more) <= error:
            kept = i
    return kept


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("drift", [-0.3, 0.0, 0.05, 0.5])
def test_the_latest_within_a_standard_error(seed, drift):
    rng = np.random.default_rng(seed)
    base = rng.gamma(1.0, size=30)
    looks = [base + drift * i + 0.3 * rng.normal(size=30) for i in range(7)]
    pick = Pick(latest=True)
    kept = [i for i, look in enumerate(looks) if pick.keeps(look)]
    assert kept[-1] == latest_not_shown_worse([look.tolist() for look in looks])
    lowest = min(looks, key=np.mean)
    assert pick.lowest is lowest
    plain = Pick(latest=False)
    lowest_alone = [i for i, look in enumerate(looks) if plain.keeps(look)]
    assert lowest_alone[-1] == next(i for i, look in enumerate(looks) if look is lowest)


def test_of_one_example_only_a_lower_loss_counts():
    pick = Pick(latest=True)
    assert [pick.keeps(np.array([loss])) for loss in (0.5, 0.4, 0.4, 0.41)] == [
        True,
        True,
        False,
        False,
    ]
