import math

import numpy as np
import pytest

from rrarank.engine.agreement import Agreement, agreement, kendall_tau, top_overlap
from rrarank.errors import RrarankError

REFERENCE = [[3.0, 2.0, 1.0, 0.0], [1.0, 2.0]]


def test_equal_scores_agree_in_full():
    assert agreement(REFERENCE, REFERENCE) == Agreement(0.0, 1.0, 1.0)


def test_figures_are_means_over_queries_and_the_largest_difference():
    found = [[3.0, 1.0, 2.0, 0.0], [2.5, 2.0]]  # one of six pairs the other way; the only pair the other way
    figures = agreement(found, REFERENCE)
    assert figures.difference == 1.5
    assert figures.tau == pytest.approx((4 / 6 - 1) / 2)
    assert figures.overlap == 1.0


def test_only_the_order_counts_for_tau():
    assert kendall_tau(np.array([1.0, 2.0, 9.0]), np.array([-5.0, -4.0, -3.9])) == 1.0


def test_overlap_is_of_the_top_ten():
    scores = np.arange(20.0)
    moved = scores.copy()
    moved[0] = 99.0  # the worst is now the best, and one of the ten drops out
    assert top_overlap(moved, scores) == 0.9


@pytest.mark.parametrize(
    ("ours", "theirs", "tau"), [([1, 1], [2, 2], 1.0), ([1, 1], [1, 2], 0.0), ([1, 2], [3, 3], 0.0)]
)
def test_ties_throughout_agree_only_with_ties(ours, theirs, tau):
    assert kendall_tau(np.array(ours), np.array(theirs)) == tau


def test_lists_of_one_document_have_no_order():
    assert agreement([*REFERENCE, [5.0], []], [*REFERENCE, [7.0], []]).difference == 0.0
    with pytest.raises(RrarankError, match="no list holds two documents"):
        agreement([[1.0]], [[1.0]])


@pytest.mark.parametrize(
    ("figures", "same_scores", "lacks"),
    [
        (Agreement(0.5, 0.95, 0.9), False, ""),
        (Agreement(0.5, 0.95, 0.9), True, "|Δscore| at most 0.001"),
        (Agreement(1e-4, 0.949, 1.0), True, "mean Kendall tau 0.95"),
        (Agreement(9.0, 0.5, 0.5), False, "mean Kendall tau 0.95, top-10 overlap 90%"),
    ],
)
def test_what_falls_short_is_named(figures, same_scores, lacks):
    assert figures.lacks(same_scores=same_scores) == lacks


def test_a_score_that_is_no_number_is_never_good_enough():
    figures = agreement([[1.0, math.nan, 3.0]], [[1.0, 2.0, 3.0]])
    assert "tau" in figures.lacks(same_scores=False)
