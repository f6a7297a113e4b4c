"""Lifts over users: their intervals, tests, and the traffic they need."""

import math

import numpy as np
import pytest

from rrarank.measures.lifts import Totals, delta_interval, detectable, lifts, split_p, users_needed


def totals(rate, users, rng, spread=0.15):
    """Users who ask a geometric number of queries and click at a rate of their own."""
    queries = rng.geometric(0.25, users).astype(float)
    own = np.clip(rate + rng.normal(0, spread, users), 0, 1)
    return Totals(rng.binomial(queries.astype(int), own).astype(float), queries)


def test_the_value_is_a_ratio_of_sums_and_its_error_counts_users():
    one = Totals(np.array([1.0, 0.0, 2.0]), np.array([2.0, 1.0, 2.0]))
    assert one.value == 3 / 5
    influences = (one.tops - 0.6 * one.bottoms) / (5 / 3)
    assert one.error == pytest.approx(influences.std(ddof=1) / math.sqrt(3))


def test_resampled_and_delta_intervals_agree_and_hold_the_truth():
    """200 experiments with 150 users an arm, a true lift of .1: 95% of the intervals hold it, give or take 4%."""
    rng, held, widths = np.random.default_rng(3), [0, 0], []
    for seed in range(200):
        [one] = lifts(
            {"ctr": totals(0.5, 150, rng)},
            {"ctr": totals(0.4, 150, rng)},
            seed=seed,
            resamples=300,
            permutations=20,
        )
        held[0] += one.low <= 0.1 <= one.high
        held[1] += one.delta_low <= 0.1 <= one.delta_high
        widths.append((one.high - one.low) / (one.delta_high - one.delta_low))
    assert all(0.905 <= count / 200 <= 0.985 for count in held), held
    assert np.mean(widths) == pytest.approx(1, abs=0.05)


def test_whoever_counts_impressions_instead_of_users_is_too_sure():
    rng, held = np.random.default_rng(4), 0
    for _ in range(200):
        values = []
        for _ in range(2):
            users = totals(0.4, 150, rng, spread=0.4)
            queries = int(users.bottoms.sum())
            clicks = np.zeros(queries)
            clicks[: int(users.tops.sum())] = 1
            values.append(Totals(clicks, np.ones(queries)))
        low, high = delta_interval(values[0].value - values[1].value, math.hypot(*(one.error for one in values)))
        held += low <= 0 <= high
    assert held / 200 < 0.93


def test_permuted_p_is_small_only_where_arms_differ():
    rng = np.random.default_rng(5)
    ps = [
        lifts({"m": totals(0.4, 60, rng)}, {"m": totals(0.4, 60, rng)}, resamples=20, permutations=99)[0].p
        for _ in range(100)
    ]
    assert sum(p <= 0.05 for p in ps) <= 12
    [one] = lifts({"m": totals(0.7, 200, rng)}, {"m": totals(0.4, 200, rng)}, permutations=999)
    assert one.p == 0.001
    assert one.reading == "higher"


def test_holm_counts_only_the_measures_that_are_tested():
    rng = np.random.default_rng(6)
    ours, theirs = totals(0.6, 200, rng), totals(0.5, 200, rng)
    found = lifts({"a": ours, "b": ours, "same": ours}, {"a": theirs, "b": theirs, "same": theirs}, untested=["same"])
    assert found[0].holm == pytest.approx(2 * found[0].p)
    assert math.isnan(found[2].holm)
    assert found[2].reading == ""


def test_an_arm_without_a_denominator_is_nan_not_zero():
    empty = Totals(np.zeros(5), np.zeros(5))
    [one] = lifts({"wait": empty}, {"wait": Totals(np.ones(5), np.ones(5))}, resamples=20, permutations=20)
    assert all(math.isnan(value) for value in (one.value, one.difference, one.low, one.p, one.holm))


def test_planned_users_detect_what_was_planned():
    users = users_needed(1.0, 0.1)
    assert users == 3140  # 2 arms of 16 sd^2 / d^2, about
    assert detectable(1.0, 1.0, users // 2, users // 2) == pytest.approx(0.1, rel=1e-3)
    assert users_needed(1.0, 0.1, share=0.1) > users
    assert users_needed(1.0, 0.1, share=1) == 785


def test_a_split_that_was_not_meant_is_a_mismatch():
    assert split_p([5000, 5030], [1, 1]) > 0.5
    assert split_p([5000, 5300], [1, 1]) < 0.005
    assert split_p([9000, 1000], [9, 1]) == 1.0


def test_an_equal_difference_counts_however_large_the_numbers_are():
    """Four users against four have 70 splits, and the observed one and its mirror are 2 of them."""
    for seed in range(60):
        rng = np.random.default_rng(seed)
        ours = Totals(rng.uniform(1e5, 2e5, 4) + 0.1234567, rng.integers(1, 9, 4).astype(float))
        theirs = Totals(rng.uniform(10, 600, 4), rng.integers(1, 9, 4).astype(float))
        [found] = lifts({"dwell": ours}, {"dwell": theirs}, resamples=10, permutations=2_000, seed=seed)
        assert found.p > 0.6 * 2 / 70


def test_assignments_without_a_value_are_no_evidence():
    """One user of each arm has a click to wait for: whoever stands in which arm, the difference is the same."""
    one = Totals(np.array([3.0, 0.0, 0.0]), np.array([1.0, 0.0, 0.0]))
    other = Totals(np.array([9.0, 0.0, 0.0]), np.array([1.0, 0.0, 0.0]))
    [found] = lifts({"wait": one}, {"wait": other})
    assert (found.difference, found.p) == (-6, 1)
