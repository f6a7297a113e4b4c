"""The two scores joined: by hand, at the ends of the weight, and for scores that say nothing."""

import pytest

from rrarank.data.types import Candidate, Hit, Ranking, Run
from rrarank.engine import registry
from rrarank.engine.interpolation import (
    Interpolation,
    Rule,
    check_first_stage,
    interpolate,
    mean_agreement,
    mean_ranks,
    rank_correlation,
    z_scores,
)
from rrarank.engine.interpolation_files import rule_over_learned
from rrarank.engine.reranker import Reranker
from rrarank.engine.runs import rerank_run
from rrarank.errors import RrarankError

FIRST = [Hit("a", 9.0), Hit("b", 5.0), Hit("c", 4.0)]
RERANKED = [Hit("c", 3.0), Hit("b", 1.0), Hit("a", -1.0)]


def docids(hits):
    return [hit.docid for hit in hits]


def test_weight_one_is_the_reranker_untouched():
    assert interpolate(RERANKED, FIRST, Interpolation(1.0)) == RERANKED


@pytest.mark.parametrize("norm", ["z-score", "min-max", "rank"])
def test_weight_zero_is_the_first_stages_order(norm):
    assert docids(interpolate(RERANKED, FIRST, Interpolation(0.0, norm))) == ["a", "b", "c"]


def test_min_max_by_hand():
    found = dict(interpolate(RERANKED, FIRST, Interpolation(0.75, "min-max")))
    assert found == pytest.approx({"c": 0.75, "b": 0.75 / 2 + 0.25 / 5, "a": 0.25})


def test_z_scores_by_hand():
    # first stage: mean 6, variance (9 + 1 + 4) / 3; reranker: mean 1, variance 8 / 3
    found = dict(interpolate(RERANKED, FIRST, Interpolation(0.5)))
    spread, own = (14 / 3) ** 0.5, (8 / 3) ** 0.5
    assert found == pytest.approx(
        {"a": 0.5 * (3 / spread - 2 / own), "b": 0.5 * -1 / spread, "c": 0.5 * (2 / own - 2 / spread)}
    )


def test_equal_scores_say_nothing():
    assert z_scores([2.0, 2.0]) == [0.0, 0.0]
    assert z_scores([2.0]) == [0.0]


def test_ranks_do_not_look_at_distances():
    far = [Hit("a", 900.0), *FIRST[1:]]
    half = Interpolation(0.5, "rank")
    assert interpolate(RERANKED, far, half) == interpolate(RERANKED, FIRST, half)


def test_an_affine_change_of_the_first_stages_scores_changes_nothing():
    other = [Hit(hit.docid, 7 * hit.score - 100) for hit in FIRST]
    for norm in ("z-score", "min-max"):
        one, two = (dict(interpolate(RERANKED, run, Interpolation(0.3, norm))) for run in (FIRST, other))
        assert one == pytest.approx(two)


@pytest.mark.parametrize("norm", ["z-score", "min-max"])
def test_constant_scores_say_nothing(norm):
    flat = [Hit(hit.docid, 2.0) for hit in FIRST]
    assert docids(interpolate(RERANKED, flat, Interpolation(0.1, norm))) == docids(RERANKED)
    assert docids(interpolate(sorted(flat, reverse=True), FIRST, Interpolation(0.1, norm))) == ["a", "b", "c"]


@pytest.mark.parametrize("norm", ["z-score", "min-max", "rank"])
def test_one_candidate_and_none(norm):
    assert docids(interpolate([Hit("a", 1.0)], FIRST, Interpolation(0.5, norm))) == ["a"]
    assert interpolate([], FIRST, Interpolation(0.5, norm)) == []


def test_only_the_reranked_candidates_are_normalised():
    """The tail's scores, however low, do not move the others."""
    longer = [*FIRST, Hit("d", -1000.0)]
    half = Interpolation(0.5)
    assert interpolate(RERANKED, longer, half) == interpolate(RERANKED, FIRST, half)


class Backwards(Reranker):
    def rerank_block(self, queries):
        return [
            Ranking(r.query, tuple(Candidate(c.docid, c.text, -c.score) for c in reversed(r.candidates)))
            for r in queries
        ]


def reranked(weight, **texts):
    texts = texts or {"a": "x", "b": "y", "c": "z"}
    run = Run({"1": [*FIRST, Hit("d", 1.0)]})
    how = Interpolation(weight)
    return docids(rerank_run(run, Backwards(), topics={"1": "q"}, texts=texts, depth=3, interpolation=how)["1"])


def test_in_a_run_the_tail_follows_in_first_stage_order():
    assert reranked(1.0) == ["c", "b", "a", "d"]
    assert reranked(0.1) == ["a", "b", "c", "d"]


def test_candidates_without_a_text_stay_below():
    assert reranked(0.1, b="y", c="z") == ["b", "c", "a", "d"]


def test_a_first_stage_without_scores_is_refused_or_named():
    flat = {"1": [Hit("a", 1.0), Hit("b", 1.0)], "2": [Hit("c", 3.0)]}
    with pytest.raises(RrarankError, match="^interpolation .--interpolate.: the first stage's scores are equal"):
        check_first_stage(flat, 100, Interpolation(0.5))
    assert check_first_stage(flat, 100, Interpolation(1.0)) == ""
    assert check_first_stage(flat, 100, Interpolation(0.5, "rank")) == ""
    by_rank = {qid: [Hit(f"{qid}{n}", 1 / n) for n in range(1, size)] for qid, size in (("1", 5), ("2", 4))}
    assert "they are ranks" in check_first_stage(by_rank, 100, Interpolation(0.5))
    assert check_first_stage({"1": FIRST, "2": RERANKED}, 100, Interpolation(0.5)) == ""


@pytest.mark.parametrize(("weight", "norm"), [(1.1, "z-score"), (-0.1, "z-score"), (float("nan"), "rank")])
def test_a_weight_outside_of_zero_to_one_is_refused(weight, norm):
    with pytest.raises(RrarankError, match="expected a number from 0 to 1"):
        Interpolation(weight, norm)


def test_an_unknown_norm_gets_the_nearest():
    with pytest.raises(RrarankError, match="did you mean 'z-score'"):
        Interpolation(0.5, "z-scores")


# -- a weight for each query ------------------------------------------------------------------------------------------


def test_rank_correlation_is_spearmans_with_ties():
    from scipy.stats import spearmanr

    one, other = [3.0, 1.0, 1.0, 7.0, 5.0], [2.0, 2.0, 0.5, 9.0, 2.0]
    assert rank_correlation(one, other) == pytest.approx(spearmanr(one, other).statistic)
    assert mean_ranks([5.0, 1.0, 5.0, 5.0]) == [2.0, 0.0, 2.0, 2.0]


@pytest.mark.parametrize("scores", [[1.0, 1.0, 1.0], [2.0]])
def test_scores_that_say_nothing_agree_with_nothing(scores):
    assert rank_correlation(scores, list(range(len(scores)))) == 0


RULE = Rule(threshold=0.5, agreeing=0.3, differing=0.9)


@pytest.mark.parametrize(("agreement", "weight"), [(0.49, 0.9), (0.5, 0.3), (1.0, 0.3), (-1.0, 0.9)])
def test_a_rule_has_one_weight_for_rankings_that_agree_and_one_for_others(agreement, weight):
    assert RULE.weight(agreement) == weight


def test_agreement_is_the_mean_over_queries_of_the_reranked_candidates():
    first = {"1": [*FIRST, Hit("d", 1.0)], "2": FIRST, "3": FIRST}
    own = {"1": RERANKED, "2": [Hit("a", 3.0), Hit("b", 2.0), Hit("c", 1.0)], "3": [Hit("a", 3.0)]}
    assert mean_agreement(own, first) == pytest.approx(0.0)  # -1 and 1; one candidate has no order
    assert mean_agreement({"2": own["2"]}, first) == pytest.approx(1.0)
    assert mean_agreement({}, {}) == 0.0


def test_a_run_is_joined_by_the_weight_that_the_rule_gives():
    run = Run({"1": FIRST})
    by_rule, by_hand = (
        rerank_run(run, Backwards(), topics={"1": "q"}, texts=dict.fromkeys("abc", "x"), interpolation=how)
        for how in (Interpolation(rule=RULE), Interpolation(0.9))
    )
    assert by_rule == by_hand


def test_equal_first_stage_scores_leave_the_decision_to_the_reranker():
    flat = {"1": [Hit("a", 1.0), Hit("b", 1.0)]}
    assert "the reranker alone decides" in check_first_stage(flat, 100, Interpolation(rule=RULE))


@pytest.mark.parametrize("reranker", ["rra-bert", "cross-encoder"])
def test_the_model_that_ships_has_a_weight_over_learned_first_stages(reranker):
    found = rule_over_learned(registry.find_reranker(reranker), "rra-bert-mini")
    assert found is not None
    assert 0 < found.learned < 1


def test_a_cascades_scores_are_on_two_scales_so_the_weight_is_not_for_them():
    assert rule_over_learned(registry.find_reranker("cascade"), "rra-bert-mini") is None
