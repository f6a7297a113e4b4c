"""Maps against scikit-learn's, and what is promised of ECE, intervals and thresholds on data made to a known map."""

import numpy as np
import pytest
from scipy.special import expit

from rrarank.errors import RrarankError
from rrarank.measures.calibration import (
    JudgedScores,
    cross_fitted,
    fit_isotonic,
    fit_map,
    fit_platt,
    measure_reliability,
    relevance_of,
)
from rrarank.measures.thresholds import apply_thresholds, choose_thresholds


def made(seed, queries=60, each=50, slope=0.8, intercept=-1.0):
    """Labels drawn from a logistic map of the scores."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=queries * each) * 3
    relevant = (rng.random(len(scores)) < expit(slope * scores + intercept)).astype(float)
    return JudgedScores(scores, relevant, np.repeat(np.arange(queries), each))


@pytest.fixture(scope="module")
def judged():
    return made(0)


def test_platt_is_that_of_scikit_learn(judged):
    sigmoid_calibration = pytest.importorskip("sklearn.calibration")._sigmoid_calibration
    a, b = sigmoid_calibration(judged.scores, judged.relevant)
    found = fit_platt(judged.scores, judged.relevant, np.ones_like(judged.scores))
    assert (found.slope, found.intercept) == pytest.approx((-a, -b), abs=1e-4)


def test_platt_of_separable_scores_stays_finite_as_its_targets_are_smoothed():
    found = fit_platt(np.array([-1.0, -0.5, 0.5, 1.0]), np.array([0.0, 0.0, 1.0, 1.0]), np.ones(4))
    assert 0 < found.slope < 100
    assert found(1.0) == pytest.approx(3 / 4, abs=0.1)


def test_weights_count_as_copies(judged):
    times = np.random.default_rng(1).integers(0, 3, len(judged.scores))
    scores, relevant = (np.repeat(one, times) for one in (judged.scores, judged.relevant))
    for fit in (fit_platt, fit_isotonic):
        weighted = fit(judged.scores, judged.relevant, times.astype(float))
        plain = fit(scores, relevant, np.ones(len(scores)))
        assert relevance_of(judged.scores, weighted) == pytest.approx(relevance_of(judged.scores, plain), abs=1e-3)


def test_isotonic_is_that_of_scikit_learn_but_never_certain():
    isotonic = pytest.importorskip("sklearn.isotonic").IsotonicRegression
    rng = np.random.default_rng(2)
    scores = rng.integers(0, 40, 500).astype(float)  # with ties
    relevant = (rng.random(500) < expit(scores / 6 - 3)).astype(float)
    found = relevance_of(scores, fit_isotonic(scores, relevant, np.ones(500)))
    theirs = isotonic(out_of_bounds="clip").fit(scores, relevant).predict(scores)
    top, bottom = theirs == theirs.max(), theirs == theirs.min()
    inner = ~top & ~bottom
    assert inner.sum() > 100
    assert found[inner] == pytest.approx(theirs[inner], abs=1e-9)
    assert found[top] == pytest.approx(max((relevant[top].sum() + 1) / (top.sum() + 2), theirs[inner].max()))
    assert found[bottom] == pytest.approx(min((relevant[bottom].sum() + 1) / (bottom.sum() + 2), theirs[inner].min()))
    assert 0 < found.min() < found.max() < 1


def test_one_score_and_many_give_the_same_relevance(judged):
    for method in ("platt", "isotonic"):
        by = fit_map(judged, method)
        some = np.linspace(-12, 12, 101)
        assert relevance_of(some, by) == pytest.approx([by(score) for score in some])


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_scores_that_fall_with_relevance_give_no_map(judged, method):
    with pytest.raises(RrarankError, match="do not have higher scores"):
        fit_map(JudgedScores(-judged.scores, judged.relevant, judged.query), method)


def test_a_pairs_own_query_has_no_part_in_its_relevance(judged):
    first = judged.query == 0
    changed = JudgedScores(judged.scores, np.where(first, 1 - judged.relevant, judged.relevant), judged.query)
    for method in ("platt", "isotonic"):
        assert np.array_equal(cross_fitted(judged, method)[first], cross_fitted(changed, method)[first])


def test_the_true_map_is_found_reliable_and_a_distorted_one_is_not(judged):
    true = measure_reliability(judged, expit(0.8 * judged.scores - 1))
    assert true.ece.value < 2 * true.ece_of_noise
    assert true.ece.low <= true.ece.value <= true.ece.high
    distorted = measure_reliability(judged, expit(1.6 * judged.scores + 1))
    assert distorted.ece.low > 3 * distorted.ece_of_noise
    assert distorted.brier.low > true.brier.value
    assert true.brier.value < true.brier_of_share == pytest.approx(true.share * (1 - true.share))


def test_ece_by_hand():
    scores, relevant = np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.0, 1.0, 1.0, 1.0])
    found = measure_reliability(JudgedScores(scores, relevant, np.array([0, 1, 0, 1])), np.array([0.2, 0.2, 0.9, 0.9]))
    assert found.ece.value == pytest.approx(0.5 * 0.3 + 0.5 * 0.1)
    assert found.brier.value == pytest.approx((0.04 + 0.64 + 0.01 + 0.01) / 4)
    assert [one.predicted for one in found.bins] == pytest.approx([0.2, 0.9])
    assert [(one.observed.value, one.pairs) for one in found.bins] == [(0.5, 2), (1.0, 2)]


def test_intervals_resample_queries_not_pairs():
    """Whole queries that are all relevant or all irrelevant say as much as one pair each."""
    rng = np.random.default_rng(3)
    query = np.repeat(np.arange(40), 50)
    relevant = np.repeat((rng.random(40) < 0.5).astype(float), 50)
    flat = np.full(2000, 0.5)
    found = measure_reliability(JudgedScores(flat, relevant, query), flat).bins[0].observed
    assert found.high - found.low > 0.2  # of pairs: 2 x 1.96 x sqrt(.25 / 2000) = .04


def test_thresholds_get_the_precision_they_were_chosen_for(judged):
    for method in ("platt", "isotonic"):
        for row in choose_thresholds(judged, [0.5, 0.8, 0.9], method):
            assert row.got.low <= row.wanted <= row.got.high
            assert row.score.low <= row.score.value <= row.score.high
            kept = judged.scores >= row.score.value
            assert row.kept == pytest.approx(kept.sum() / judged.queries, rel=0.1)
            assert row.recall == pytest.approx(judged.relevant[kept].sum() / judged.relevant.sum(), rel=0.1)


def test_a_precision_that_no_score_reaches_keeps_nothing(judged):
    [row] = choose_thresholds(judged, [0.9999], "platt")
    assert (row.score.value, row.kept, row.recall) == (np.inf, 0, 0)


def test_thresholds_of_other_queries_are_applied_as_they_are(judged):
    by = fit_map(judged, "platt")
    other = made(5)
    [row] = apply_thresholds(other, {0.8: 1.5}, by)
    kept = other.scores >= 1.5
    assert row.got.value == pytest.approx(other.relevant[kept].mean())
    assert row.relevance == pytest.approx(by(1.5))
    assert row.score.value == 1.5


def test_equal_data_give_equal_results(judged):
    assert choose_thresholds(judged, [0.8], "platt") == choose_thresholds(judged, [0.8], "platt")
    relevance = cross_fitted(judged, "platt")
    assert measure_reliability(judged, relevance) == measure_reliability(judged, relevance)
