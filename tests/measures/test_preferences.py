"""Preferences of interleaving: credit, ties, votes."""

import numpy as np
import pytest

from rrarank.measures.preferences import corrected, credit, preference


def test_credit_counts_clicks_by_team():
    assert credit(["new", "old", "new"], "new", "old") == 1
    assert credit(["third"], "new", "old") == 0


def test_wins_losses_and_ties_make_the_preference():
    one = preference("new", "all", users=[0, 0, 1, 2], credits=[2, -1, 1, 0])
    assert (one.wins, one.losses, one.ties, one.lists, one.users) == (2, 1, 1, 4, 3)
    assert one.preference == pytest.approx(0.25)
    assert (one.voters_for, one.voters_against) == (1, 0)


def test_one_user_who_clicks_all_day_has_one_vote():
    users = [0] * 500 + list(range(1, 41))
    credits = [1] * 500 + [-1] * 40
    one = preference("new", "all", users, credits)
    assert one.preference > 0.8
    assert (one.voters_for, one.voters_against) == (1, 40)
    assert one.votes_p < 1e-9
    assert one.low < 0  # the interval knows that one user decides


def test_intervals_hold_no_preference_where_there_is_none():
    rng, held, found = np.random.default_rng(2), 0, 0
    for seed in range(100):
        users = rng.integers(60, size=150).tolist()
        one = preference("new", "all", users, rng.integers(-1, 2, size=150).tolist(), seed=seed)
        held += one.low <= 0 <= one.high
        found += one.p < 0.05
    assert held >= 88
    assert found <= 11


def test_parts_are_corrected_together():
    rng = np.random.default_rng(7)
    parts = [preference("new", part, range(40), rng.choice([1, 1, -1], 40).tolist()) for part in ("all", "short")]
    assert corrected(parts)[0].holm >= parts[0].p


def test_nobody_clicked():
    one = preference("new", "all", [], [])
    assert one.lists == one.users == 0
    assert one.reading == ""
