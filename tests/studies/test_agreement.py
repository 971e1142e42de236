"""The study's statistics against plain loops; its cells, plans and resuming on a tiny encoder."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest

from fishpal.common.errors import DataError
from fishpal.common.kinds import ModuleKind
from studies.criteria.analysis.agreement import (
    agreement,
    noise_floor,
    percentile,
    ranks,
    regret,
    stability,
    variance,
)

P, A, L = ModuleKind.PREFIX, ModuleKind.ADAPTER, ModuleKind.LORA


def table(plans=12, seeds=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(plans, 1)) + 0.5 * rng.normal(size=(plans, seeds))


def test_variance_recovers_what_made_the_results():
    rng = np.random.default_rng(0)
    results = 2.0 * rng.normal(size=(4000, 1)) + 3.0 * rng.normal(size=(4000, 3))
    found = variance(results)
    # 4,000 plans: standard errors near 0.2 (plans) and 0.14 (seeds)
    assert found.plans == pytest.approx(4.0, abs=0.8)
    assert found.seeds == pytest.approx(9.0, abs=0.6)
    assert found.share == pytest.approx(4 / 13, abs=0.05)
    assert found.reliability(3) == pytest.approx(4 / (4 + 9 / 3), abs=0.07)


def test_variance_equals_the_mean_squares_of_an_anova():
    results = table()
    plans, seeds = results.shape
    grand = results.mean()
    between = seeds * sum((row.mean() - grand) ** 2 for row in results) / (plans - 1)
    within = sum((x - row.mean()) ** 2 for row in results for x in row) / (plans * (seeds - 1))
    assert variance(results).seeds == pytest.approx(within)
    assert variance(results).plans == pytest.approx((between - within) / seeds)


def test_variance_of_pure_noise_is_never_negative():
    shares = [variance(np.random.default_rng(s).normal(size=(8, 2))).plans for s in range(20)]
    assert min(shares) == 0.0
    with pytest.raises(DataError, match="2 plans and 2 seeds or more"):
        variance(np.ones((5, 1)))


def test_agreement_equals_counting_pairs():
    results, scores = table(), np.random.default_rng(1).integers(4, size=12).astype(float)
    means = results.mean(axis=1)
    concordant = discordant = tied = 0
    for i, j in combinations(range(12), 2):
        sign = np.sign(scores[i] - scores[j]) * np.sign(means[i] - means[j])
        concordant, discordant = concordant + (sign > 0), discordant + (sign < 0)
        tied += scores[i] == scores[j]
    pairs = 12 * 11 / 2
    tau = (concordant - discordant) / np.sqrt((pairs - tied) * pairs)
    found = agreement(scores, results)
    assert found.kendall == pytest.approx(tau)

    def mean_rank(values, x):
        below, equal = sum(v < x for v in values), sum(v == x for v in values)
        return below + (equal + 1) / 2

    a = [mean_rank(scores, x) for x in scores]
    b = [mean_rank(means, x) for x in means]
    assert found.spearman == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert agreement(np.ones(12), results).spearman == 0.0
    with pytest.raises(DataError, match="allowed: .12,., one a plan"):
        agreement([1.0], results)


def test_regret_and_noise_floor():
    results = np.array([[1.0, 4.0], [3.0, 1.0], [2.0, 2.0]])  # means 2.5, 2, 2
    assert regret(0, results) == 0.0
    assert regret(1, results) == 0.5
    # seed 0 picks plan 1, which seed 1 puts 3 below its best; seed 1 picks plan 0: 2 below
    assert noise_floor(results) == pytest.approx((3.0 + 2.0) / 2)
    assert noise_floor(results[:, :1]) == 0.0
    with pytest.raises(DataError, match="allowed: finite"):
        regret(0, np.array([[np.nan, 1.0]]))


def test_percentile_and_ranks():
    assert percentile(2.0, [1.0, 2.0, 3.0, 4.0]) == pytest.approx(37.5)
    assert percentile(9.0, [1.0]) == 100.0
    assert ranks([3.0, 1.0, 3.0]).tolist() == [0.75, 0.0, 0.75]
    with pytest.raises(DataError, match="others is empty"):
        percentile(1.0, [])


def test_stability_counts_equal_layers():
    plans = [(P, A, L), (P, A, A), (P, L, L)]
    assert stability(plans) == pytest.approx((2 / 3 + 2 / 3 + 1 / 3) / 3)
    assert stability(plans[:1]) == 1.0
    assert stability(list(permutations((P, A, L)))) < stability([(P, P, P)] * 3)
