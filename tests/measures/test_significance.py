"""Tests and intervals against scipy, and against a computation of their definition."""

import itertools
import math
import random
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from rrarank.measures.numbers import comparison_cells, figure
from rrarank.measures.significance import (
    bootstrap,
    compare,
    fisher_randomisation,
    holm,
    interval_method,
    interval_of_values,
    mean_interval,
    rests_on,
    smallest_detectable,
    student_t,
)


def differences(n, seed=0, mean=0.05):
    rng = random.Random(seed)
    return [rng.gauss(mean, 0.15) for _ in range(n)]


@pytest.mark.parametrize("n", [2, 5, 43, 500])
def test_student_is_scipys_paired_t(n):
    ours, theirs = differences(n, 1), differences(n, 2)
    p = student_t(list(np.subtract(ours, theirs)))
    assert p == pytest.approx(stats.ttest_rel(ours, theirs).pvalue, abs=1e-12)


@pytest.mark.parametrize("n", [3, 6, 10])
def test_few_queries_are_flipped_in_every_way(n):
    values = differences(n)
    flips = [
        abs(sum(s * v for s, v in zip(signs, values, strict=True))) for signs in itertools.product([1, -1], repeat=n)
    ]
    exact = sum(flip >= abs(sum(values)) - 1e-12 for flip in flips) / len(flips)
    assert fisher_randomisation(values) == pytest.approx(exact)


@pytest.mark.parametrize("seed", range(5))
def test_many_queries_are_flipped_ten_thousand_times(seed):
    values = np.array(differences(43, seed, mean=0.03))
    rng = np.random.default_rng(99 + seed)
    flipped = np.abs((rng.choice([-1, 1], size=(200_000, 43)) * values).mean(axis=1))
    exact = np.mean(flipped >= abs(values.mean()))
    p = fisher_randomisation(values.tolist())
    assert p == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 10_000) + 1e-4)
    assert p * 10_001 == pytest.approx(round(p * 10_001))  # (b + 1) / (n + 1)


def test_p_is_never_zero():
    assert fisher_randomisation([0.5] * 100) == pytest.approx(1 / 10_001)


def test_seed_decides_and_is_repeatable():
    values = differences(43, mean=0.02)
    assert fisher_randomisation(values, seed=1) == fisher_randomisation(values, seed=1)
    assert bootstrap(values, seed=1) == bootstrap(values, seed=1) != bootstrap(values, seed=2)


def test_interval_is_near_the_normal_one():
    values = differences(400)
    half = 1.96 * np.std(values, ddof=1) / math.sqrt(400)
    assert bootstrap(values) == pytest.approx((np.mean(values) - half, np.mean(values) + half), abs=0.1 * half)


@pytest.mark.parametrize("n", [20, 43, 200])
def test_detectable_difference_is_found_eight_times_in_ten(n):
    rng = np.random.default_rng(n)
    true = smallest_detectable(0.15, n)
    samples = rng.normal(true, 0.15, size=(20_000, n))
    found = np.mean(stats.ttest_1samp(samples, 0.0, axis=1).pvalue < 0.05)
    assert found == pytest.approx(0.8, abs=0.015)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_leaves_out_what_was_not_tested():
    corrected = holm([0.02, math.nan])
    assert corrected[0] == pytest.approx(0.02)
    assert math.isnan(corrected[1])


def test_effect_is_the_mean_over_the_deviation():
    c = compare("s", "m", [0.3, 0.5, 0.4], [0.1, 0.1, 0.1])
    assert c.effect == pytest.approx(0.3 / 0.1)
    assert c.mean == pytest.approx(0.3)


def test_the_same_difference_everywhere_leaves_no_doubt():
    c = compare("s", "m", [1.0] * 20, [0.5] * 20)
    assert (c.student, c.effect, c.detectable) == (0.0, math.inf, 0.0)


def test_one_query_supports_no_test():
    c = compare("s", "m", [0.4], [0.1])
    assert c.mean == pytest.approx(0.3)
    assert all(math.isnan(value) for value in (c.student, c.fisher, c.low, c.high, c.detectable))


# -- few queries ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 5, 19])
def test_few_queries_get_scipys_t_interval(n):
    values = differences(n)
    expected = stats.t.interval(0.95, n - 1, loc=np.mean(values), scale=stats.sem(values))
    assert mean_interval(values) == pytest.approx(expected)
    c = compare("s", "m", values, [0.0] * n)
    assert (c.low, c.high) == pytest.approx(expected)


def test_more_queries_get_the_bootstrap():
    values = differences(20)
    assert mean_interval(values) == bootstrap(values)


def test_intervals_over_few_queries_carry_a_caveat():
    assert interval_method(20) == "bootstrap over queries"
    assert "with only 19 queries they are rough" in interval_method(19)
    c = compare("s", "m", differences(5), [0.0] * 5)
    assert "Intervals: by t; with only 5 queries they are rough" in rests_on([c], 5)
    assert "rough" not in rests_on([c], 43)


def test_intervals_of_five_queries_cover_the_mean_more_often_than_the_bootstrap():
    rng = np.random.default_rng(0)
    covered = {mean_interval: 0, bootstrap: 0}
    for _ in range(200):
        values = rng.normal(0.05, 0.15, 5).tolist()
        for method in covered:
            low, high = method(values)
            covered[method] += low <= 0.05 <= high
    assert covered[bootstrap] < 0.88 * 200
    assert covered[mean_interval] > 0.91 * 200


def test_an_interval_of_a_measure_stays_among_its_values():
    assert interval_of_values([0.0, 1.0]) == (0.0, 1.0)
    assert interval_of_values([0.5, 3.0])[1] > 1
    assert all(math.isnan(bound) for bound in interval_of_values([0.3]))


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_nothing_is_concluded_from_what_is_not_finite(odd):
    c = compare("s", "m", [odd, 0.2, 0.3], [0.1, 0.1, 0.1])
    assert c.reading == ""
    assert all(math.isnan(value) for value in (c.student, c.fisher, c.low, c.high, c.detectable))
    assert figure(c.mean, "+.4f") == ""
    assert comparison_cells(c) == [""] * 5


def test_what_has_no_variance_has_no_t():
    c = compare("s", "m", [0.5] * 2, [0.25] * 2)
    cells = comparison_cells(replace(c, student_holm=0.0, fisher_holm=0.5))
    assert cells == ["[+0.2500, +0.2500]", "", "0.5", "", "0.0000"]


def test_equal_differences_have_no_deviation():
    found = compare("a", "RR(rel=1)", [1.0] * 12, [1 / 3] * 12)
    assert (found.effect, found.detectable, found.student) == (math.inf, 0.0, 0.0)
