"""Looking every day: the naive interval is wrong more and more often, the always-valid one is not."""

import math

import numpy as np
import pytest

from rrarank.measures.sequential import Estimate, half_width, looks, mixture_for, valid_p


def no_difference(rng, days=40):
    """Estimates after each day, of 50 users an arm a day whose values do not differ."""
    steps = rng.normal(0, math.sqrt(2 / 50), days).cumsum() / np.arange(1, days + 1)
    return [
        Estimate(str(day), 100 * day, float(steps[day - 1]), math.sqrt(2 / (50 * day))) for day in range(1, days + 1)
    ]


def test_looking_every_day_finds_nothing_too_often_only_without_the_sequential_test():
    rng = np.random.default_rng(1)
    taken = [looks(no_difference(rng)) for _ in range(400)]
    naive = np.mean([any(one.naive_low > 0 or one.naive_high < 0 for one in own) for own in taken])
    valid = np.mean([own[-1].p < 0.05 for own in taken])
    assert naive > 0.2
    assert valid <= 0.05


def test_p_and_interval_say_the_same():
    mixture = mixture_for(0.01)
    half = half_width(0.02, mixture)
    assert valid_p(half, 0.02, mixture) == pytest.approx(0.05)
    assert valid_p(0.0, 0.02, mixture) == 1.0


def test_the_mixture_is_tightest_where_it_was_set():
    chosen = mixture_for(0.01)
    assert half_width(0.01, chosen) < min(half_width(0.01, chosen / 2), half_width(0.01, chosen * 2))


def test_p_never_rises_again_and_a_look_without_an_error_is_left_out():
    found = looks([Estimate("a", 2, 0.0, 0.0), Estimate("b", 50, 0.5, 0.1), Estimate("c", 90, 0.0, 0.1)])
    assert [one.when for one in found] == ["b", "c"]
    assert found[0].p == found[1].p < 0.05
    assert looks([]) == []
