"""Judgments from rankings, and their agreement with people's, beside scipy's figures."""

import random
import re
from itertools import combinations
from statistics import fmean

import pytest
from scipy.stats import kendalltau, somersd

from rrarank.data.trec import read_qrels, read_run
from rrarank.data.types import Candidate, LabelledRanking, Query
from rrarank.errors import RrarankError
from rrarank.sets.grades import Estimate, Steps, agreement, grade, merge_windows


def label(listed="", missing="", unknown="", qid="1", **more):
    shown = tuple(Candidate(docid, f"text {docid}", 0.0) for docid in sorted(listed + missing + unknown))
    return LabelledRanking(Query(qid, "tea"), shown, tuple(listed), tuple(missing), tuple(unknown), **more)


# -- grades ------------------------------------------------------------------------------------------------------------


def test_first_three_next_two_next_one_the_others_nothing():
    found = grade([label("kjihgfedcba", "z", "y")])["1"]
    assert found == {"k": 3, **dict.fromkeys("jih", 2), **dict.fromkeys("gfedc", 1), "b": 0, "a": 0, "z": 0}


@pytest.mark.parametrize(
    ("text", "grades"),
    [
        ("3:1,2:3,1:5", [3, 2, 2, 2]),
        ("1:2", [1, 1, 0, 0]),
        ("2:1, 1:*", [2, 1, 1, 1]),
        ("1:*", [1, 1, 1, 1]),
    ],
)
def test_steps_say_how_many_get_which_grade(text, grades):
    assert list(grade([label("abcd")], Steps.parse(text))["1"].values()) == grades
    assert str(Steps.parse(text)) == text.replace(" ", "")


@pytest.mark.parametrize("text", ["", "3", "3:0", "3:-1", "x:1", "1:1,2:3", "2:1,2:3", "2:*,1:3", "3:1,,1:1"])
def test_steps_that_say_nothing_are_refused(text):
    with pytest.raises(RrarankError, match=re.escape(f"grades {text!r}: ")):
        Steps.parse(text)


def test_a_label_that_knows_nothing_judges_nothing():
    assert grade([label(unknown="ab")]) == {"1": {}}


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
    assert grade(windows)["1"]["h"] == 3


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
