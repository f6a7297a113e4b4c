"""The benchmark of recorded answers: merged windows, agreement with people, and the order of systems."""

import random
from itertools import combinations
from statistics import fmean

import pytest
from scipy.stats import kendalltau, somersd

from benchmarks.quality.recorded_answers import Estimate, agreement, merge_windows, system_tau
from rrarank.data.trec import parse_qrels, read_qrels, read_run
from rrarank.data.types import Candidate, Hit, LabelledRanking, Query, Run
from rrarank.errors import RrarankError
from rrarank.measures.values import per_query_scores


def label(listed="", missing="", unknown="", qid="1", **more):
    shown = tuple(Candidate(docid, f"text {docid}", 0.0) for docid in sorted(listed + missing + unknown))
    return LabelledRanking(Query(qid, "tea"), shown, tuple(listed), tuple(missing), tuple(unknown), **more)


# -- windows -----------------------------------------------------------------------------------------------------------


def test_windows_merge_by_mean_borda_count():
    [merged] = merge_windows([label("ab", "c"), label("bc", "d", "e"), label("a", "e")])
    # a: 1, 1 · b: 1/2, 1 · c: 0, 1/2 · d: 0 · e: 0 in the last window alone
    assert (merged.listed, merged.missing, merged.unknown) == (("a", "b", "c"), ("d", "e"), ())
    assert [candidate.docid for candidate in merged.shown] == ["a", "b", "c", "d", "e"]
    assert merged.provenance["windows"] == 3


def test_what_a_window_leaves_out_beats_half_of_what_else_it_leaves_out():
    [merged] = merge_windows([label("a", "bcd"), label("efb", "g"), label("ijklhm")])
    # b: 1/3, 1/3 (were ties lost: 0, 1/3) · h: 1/5
    assert [docid for docid in merged.listed if docid in "bh"] == ["b", "h"]


def test_what_no_window_judged_stays_unknown_and_what_one_showed_was_shown():
    first = label("a", unknown="b", not_shown=("c", "d"), faults=("truncated",))
    [merged] = merge_windows([first, label("c", unknown="b", not_shown=("a", "d"), faults=("ok",))])
    assert (merged.unknown, merged.not_shown, merged.faults) == (("b",), ("d",), ("truncated", "ok"))


def test_one_window_a_query_is_left_as_it_is():
    labels = [label("ab", "c"), label("ab", qid="2")]
    assert merge_windows(labels) == labels


def test_windows_that_agree_give_their_order_whatever_their_overlap():
    order = "hgfedcba"
    windows = [label("".join(found)) for found in combinations(order, 3)]
    [merged] = merge_windows(windows)
    assert merged.listed == tuple(order)


# -- agreement ---------------------------------------------------------------------------------------------------------


def test_pairs_in_the_right_order_ties_half():
    nist = {"1": {"a": 3, "b": 1, "c": 1, "d": 0}, "2": {"a": 1, "b": 0}}
    ours = {"1": {"a": 2, "b": 2, "c": 1, "x": 9}, "2": {"a": 0, "b": 1}, "3": {"a": 1}}
    found = agreement(ours, nist)
    assert found.pairs == 3  # a > b (tied: a half), a > c; and a > b in query 2
    assert found.pairwise.mean == fmean([1.5 / 2, 0.0])
    assert found.pairwise.queries == 2
    assert 0 <= found.pairwise.low <= found.pairwise.mean <= found.pairwise.high <= 1


def test_agreement_equals_scipys_somers_d_and_kendalls_tau():
    rng = random.Random(0)
    docids = [f"d{number}" for number in range(30)]
    nist = {str(q): {docid: rng.randint(0, 3) for docid in docids} for q in range(8)}
    ours = {qid: {docid: rng.randint(0, 5) + nist[qid][docid] for docid in docids} for qid in nist}
    found = agreement(ours, nist)
    columns = [([*nist[qid].values()], [*ours[qid].values()]) for qid in nist]
    assert found.pairwise.mean == pytest.approx(fmean((1 + somersd(x, y).statistic) / 2 for x, y in columns))
    assert found.tau.mean == pytest.approx(fmean(kendalltau(x, y).statistic for x, y in columns))
    assert found == agreement(ours, nist)
    assert found.tau.low < found.tau.mean < found.tau.high


def test_an_order_without_a_difference_is_right_by_half_and_has_no_tau():
    found = agreement({"1": {"a": 1, "b": 1}}, {"1": {"a": 1, "b": 0}})
    assert found.pairwise == Estimate(0.5, 0.5, 0.5, 1)
    assert found.tau.queries == 0


def test_nothing_in_common_is_said():
    with pytest.raises(RrarankError, match="no query has two documents"):
        agreement({"1": {"a": 1, "b": 2}}, {"1": {"a": 1, "c": 0}, "2": {"a": 1}})


def test_a_better_run_agrees_better_with_nist(shared_data):
    dl19 = shared_data / "dl19"
    runs = {name: read_run(dl19 / "runs" / f"{name}.trec") for name in ("bm25", "repllama")}
    qrels = read_qrels(dl19 / "qrels.txt")
    found = {name: agreement({qid: dict(hits) for qid, hits in run.items()}, qrels) for name, run in runs.items()}
    assert found["bm25"].pairwise.queries == found["repllama"].pairwise.queries == 43
    assert 0.5 < found["bm25"].pairwise.high < found["repllama"].pairwise.low < 0.8
    assert 0.0 < found["bm25"].tau.high < found["repllama"].tau.low


# -- systems ---

DOCIDS = [f"d{number}" for number in range(12)]


def noisy(qrels, noise, seed):
    rng = random.Random(seed)
    return Run(
        {
            qid: sorted(
                (Hit(docid, grade + rng.gauss(0, noise)) for docid, grade in grades.items()), key=lambda hit: -hit.score
            )
            for qid, grades in qrels.items()
        }
    )


@pytest.fixture(scope="module")
def judged():
    rng = random.Random(1)
    nist = {str(q): {docid: rng.choice([0, 0, 1, 3]) for docid in DOCIDS} for q in range(12)}
    return nist, {f"s{i}": noisy(nist, 0.1 + i / 4, seed=i) for i in range(20)}


def test_the_same_judgments_rank_systems_alike(judged):
    nist, runs = judged
    found = system_tau(runs, nist, nist)
    assert (found.tau, found.low, found.high) == (1.0, 1.0, 1.0)
    assert (found.orderings, found.queries) == (20, 12)


def test_tau_is_between_the_mean_measures_over_the_common_queries(judged):
    nist, runs = judged
    rng = random.Random(2)
    ours = {qid: {docid: rng.choice([grade, 0]) for docid, grade in nist[qid].items()} for qid in [*nist][:-2]}
    common = {qid: nist[qid] for qid in ours}
    means = [
        [fmean(per_query_scores(qrels, run, ["ndcg@5"])["ndcg@5"].values()) for run in runs.values()]
        for qrels in (ours, common)
    ]
    found = system_tau(runs, {**ours, "other": {"a": 1}}, nist, "ndcg@5")
    assert found.tau == pytest.approx(kendalltau(*means).statistic)
    assert found.low < found.tau < found.high
    assert found.queries == 10
    assert found == system_tau(runs, ours, nist, "ndcg@5")


def test_too_few_systems_or_queries_are_refused(judged):
    nist, runs = judged
    with pytest.raises(RrarankError, match="19 orderings over 12 queries that both judge; expected at least 20"):
        system_tau({name: runs[name] for name in [*runs][1:]}, nist, nist)
    with pytest.raises(RrarankError, match="20 orderings over 0 queries"):
        system_tau(runs, parse_qrels("x 0 a 1"), nist)
