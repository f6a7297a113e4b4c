"""Nested cross-validation: what a choice is worth on queries that did not make it."""

import random

import pytest

from rrarank.errors import RrarankError
from rrarank.measures.tuning import tune_settings

QIDS = [str(number) for number in range(40)]


def constant(value):
    return dict.fromkeys(QIDS, value)


def test_the_best_setting_on_all_queries_is_chosen():
    tuned = tune_settings({"low": constant(0.2), "high": constant(0.8), "middle": constant(0.5)})
    assert tuned.best == "high"
    assert tuned.chosen == {"high": 1.0}
    assert tuned.mean == pytest.approx(0.8)


def test_of_equally_good_settings_the_first_is_chosen_despite_rounding():
    tuned = tune_settings({"first": constant(0.3), "second": constant(0.1 + 0.2)})
    assert tuned.best == "first"
    assert tuned.chosen == {"first": 1.0}


def test_a_choice_among_noise_is_worth_no_more_than_noise():
    """The best of 50 random settings looks good on the queries that chose it, and is not on others."""
    rng = random.Random(0)
    tuned = tune_settings({n: {qid: rng.random() for qid in QIDS} for n in range(50)})
    assert tuned.means[tuned.best] > 0.58
    assert tuned.mean < 0.53


def test_no_query_counts_for_the_choice_that_it_is_measured_at():
    """One query alone favours `odd`, so much that it wins over all queries; held out, that query gets `even`."""
    even, odd = constant(0.5), constant(0.49) | {"7": 1.0}
    tuned = tune_settings({"even": even, "odd": odd})
    assert tuned.best == "odd"
    assert tuned.held_out["7"] == pytest.approx(0.5)


def test_a_seed_gives_the_same_values_and_another_seed_others():
    rng = random.Random(1)
    values = {n: {qid: rng.random() for qid in QIDS} for n in range(5)}
    assert tune_settings(values, seed=3) == tune_settings(values, seed=3)
    assert tune_settings(values, seed=3).held_out != tune_settings(values, seed=4).held_out


def test_differences_are_tested_with_holms_correction():
    rng = random.Random(2)
    own = {qid: 0.5 + rng.gauss(0, 0.01) for qid in QIDS}
    tuned = tune_settings({"a": own, "b": constant(0.1)})
    better, same = tuned.against({"worse": constant(0.2), "same": own}, "ndcg@10")
    assert (better.system, better.reading) == ("worse", "better")
    assert better.fisher_holm == pytest.approx(2 * better.fisher)
    assert same.reading == "equal on every query"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"a": {"1": 0.5}, "b": {"1": 0.4}}, "1 judged queries, expected at least 10"),
        ({"a": dict.fromkeys(map(str, range(40)), 0.5)}, "1 settings to choose from"),
    ],
)
def test_too_little_to_choose_from_is_refused(values, message):
    with pytest.raises(RrarankError, match=message):
        tune_settings(values)
