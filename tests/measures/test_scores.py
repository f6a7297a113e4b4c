"""Measures against trec_eval, the floor against shuffles, p against scipy."""

import math
import random
import statistics

import pytest
import pytrec_eval

from rrarank.data.trec import best_first
from rrarank.data.types import Hit, Run
from rrarank.errors import RrarankError
from rrarank.measures.measure import at_level, label
from rrarank.measures.scores import MEASURES, _warn_once, evaluate_runs, random_floor
from rrarank.measures.significance import tukey_hsd
from rrarank.measures.values import judged_at, per_query_scores

TREC_EVAL = dict(
    zip(MEASURES, ("ndcg_cut_5", "ndcg_cut_10", "map", "recip_rank", "recall_100"), strict=True)
)  # ours -> trec_eval's


def random_set(seed, scores):
    """Graded qrels and a run over 8 queries, some unanswered, some without anything relevant."""
    rng = random.Random(seed)
    qrels, hits = {}, {}
    for qid in rng.sample([str(number) for number in range(1, 30)], 8):
        pool = [f"d{number}" for number in range(rng.choice([3, 30, 200]))]
        judged = rng.sample(pool + [f"e{number}" for number in range(5)], rng.randint(1, len(pool)))
        # no negative grades: they corrupt the memory of pytrec_eval-terrier 0.5.11
        qrels[qid] = {docid: rng.choice([0, 0, 1, 2, 3]) for docid in judged}
        if rng.random() < 0.8:
            found = rng.sample(pool, rng.randint(1, len(pool)))
            hits[qid] = [Hit(docid, scores(rng)) for docid in found]
    hits["99"] = [Hit("d1", 1.0)]  # a query that the qrels lack
    return qrels, hits


# -- values ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scores", [random.Random.random, lambda rng: float(rng.randint(0, 3))], ids=["plain", "tied"])
@pytest.mark.parametrize("seed", range(100))
def test_values_equal_trec_evals(seed, scores):
    qrels, hits = random_set(seed, scores)
    theirs = pytrec_eval.RelevanceEvaluator(qrels, set(TREC_EVAL.values())).evaluate(
        {qid: dict(found) for qid, found in hits.items()}
    )
    ours = per_query_scores(qrels, Run({qid: best_first(found) for qid, found in hits.items()}), MEASURES)
    for measure, name in TREC_EVAL.items():
        assert list(ours[measure]) == list(qrels)
        expected = {qid: theirs[qid][name] if qid in theirs else 0.0 for qid in qrels}
        assert ours[measure] == pytest.approx(expected, abs=1e-6)


def test_values_follow_the_order_given_not_the_scores():
    run = Run({"1": [Hit("a", 0.0), Hit("b", 0.0), Hit("c", 5.0)]})
    assert per_query_scores({"1": {"b": 1}}, run, ["mrr"]) == {"mrr": {"1": 0.5}}


def test_a_query_that_the_run_lacks_counts_as_zero():
    qrels = {"2": {"a": 1}, "1": {"a": 1}, "3": {"a": 1}}
    run = Run({"1": [Hit("a", 1.0)], "3": [], "9": [Hit("a", 1.0)]})
    found = evaluate_runs(qrels, {"r": run}, measures=["mrr", "ndcg@10"])
    assert found.rows[0].per_query == {key: {"2": 0.0, "1": 1.0, "3": 0.0} for key in ["RR(rel=1)", "nDCG@10"]}
    assert found.rows[0].means == pytest.approx({"RR(rel=1)": 1 / 3, "nDCG@10": 1 / 3})
    assert found.unanswered == {"r": ["2", "3"]}
    assert found.queries == ["2", "1", "3"]


def test_a_negative_grade_gains_nothing():
    qrels = {"1": {"spam": -2, "a": 1}}
    run = Run({"1": [Hit("spam", 2.0), Hit("a", 1.0)]})
    assert per_query_scores(qrels, run, ["ndcg@10"])["ndcg@10"]["1"] == pytest.approx(1 / math.log2(3))


def test_a_level_asks_for_that_grade():
    qrels = {"1": {"a": 1, "b": 2}}
    run = Run({"1": [Hit("a", 2.0), Hit("b", 1.0)]})
    assert per_query_scores(qrels, run, ["mrr", "mrr@10-l2", "map@1000-l2"]) == {
        "mrr": {"1": 1.0},
        "mrr@10-l2": {"1": 0.5},
        "map@1000-l2": {"1": 0.5},
    }


def test_judged_is_the_share_of_the_top_that_has_a_judgment_over_the_queries():
    qrels = {"1": {"a": 0, "b": -1, "c": 3}, "2": {"a": 1}, "3": {"a": 1}}
    run = Run({"1": [Hit(docid, 0.0) for docid in "axcyb"], "2": [Hit("z", 0.0)], "9": [Hit("a", 0.0)]})
    assert judged_at(2, qrels, run) == (1 / 2) / 3  # a of a, x; not z; nothing of the third query
    assert judged_at(10, qrels, run) == (3 / 5) / 3
    assert judged_at(10, qrels, Run({})) == 0.0
    row = evaluate_runs(qrels, {"r": run}, measures=["mrr", "Judged@10"]).rows[0]
    assert row.judged == row.means["Judged@10"] == (3 / 5) / 3


def test_what_is_judged_is_neither_the_best_nor_tested():
    qrels = {str(q): {"a": 2, "b": 1} for q in range(25)}
    half, whole = (Run({qid: [Hit(docid, 0.0) for docid in docids] for qid in qrels}) for docids in ("bx", "ab"))
    found = evaluate_runs(qrels, {"half": half, "whole": whole}, measures=["Judged@10", "nDCG@10", "Judged@1"])
    assert {one.measure for one in found.comparisons} == {"nDCG@10"}
    tables = found.tables(tukey=True)
    assert tables["systems"].head == ["system", "Judged@10", "nDCG@10", "Judged@1"]  # no second judged@10
    assert [(cell.best, bool(cell.marks)) for cell in found.tables()["systems"].rows[2][1:]] == [
        (False, False),
        (True, True),
        (False, False),
    ]
    assert tables["tukey"].head == ["Tukey's HSD, p", "nDCG@10"]
    assert "Judged in the top 10" not in found.to_latex()
    assert list(found.to_pandas()) == ["system", "Judged@10", "nDCG@10", "Judged@1"]
    alone = evaluate_runs(qrels, {"half": half, "whole": whole}, measures="Judged@5")
    assert list(alone.tables(tukey=True)) == ["systems"]
    assert alone.tables()["systems"].head == ["system", "Judged@5", "judged@10"]


# -- the random floor --------------------------------------------------------------------------------------------------


FLOORED = [
    *MEASURES,
    "ndcg",
    "recall@3",
    "recall",
    "mrr@2",
    "map@4",
    "map@1000-l2",
    "recall@5-l2",
    "mrr@10-l2",
    "mrr-l3",
    "ndcg@5-l2",
]
GRADES = {"a": 3, "b": 2, "c": 1, "d": 0, "e": -1, "unfound": 2}
POOLS = {"1": "abcdefgh", "2": "aefg", "3": "ghijkl", "4": "a", "5": "ag"}
DRAWS = 3000


@pytest.fixture(scope="module")
def shuffled():
    """measure -> its mean over the queries, for each of many shuffles."""
    rng = random.Random(7)
    orders = {f"{qid}.{n}": rng.sample(pool, len(pool)) for n in range(DRAWS) for qid, pool in POOLS.items()}
    run = Run({name: [Hit(docid, 0.0) for docid in order] for name, order in orders.items()})
    values = per_query_scores(dict.fromkeys(orders, GRADES), run, FLOORED)
    return {
        measure: [statistics.fmean(values[measure][f"{qid}.{n}"] for qid in POOLS) for n in range(DRAWS)]
        for measure in FLOORED
    }


@pytest.mark.parametrize("measure", FLOORED)
def test_the_floor_is_the_mean_over_shuffles(measure, shuffled):
    run = Run({qid: [Hit(docid, 0.0) for docid in pool] for qid, pool in POOLS.items()})
    floor = random_floor(dict.fromkeys(POOLS, GRADES), run, measure)
    drawn = shuffled[measure]
    standard_error = statistics.stdev(drawn) / math.sqrt(DRAWS)
    assert 0 < floor < 1
    assert floor == pytest.approx(statistics.fmean(drawn), abs=4 * standard_error + 1e-9)


def test_the_floor_counts_unanswered_queries_as_zero():
    run = Run({"1": [Hit("a", 1.0)]})
    for measure in MEASURES:
        assert random_floor({"1": {"a": 1}, "2": {"a": 1}}, run, measure) == pytest.approx(0.5)
        assert random_floor({"1": {"a": 0}}, run, measure) == 0.0


def test_a_measure_without_formula_has_no_floor():
    assert math.isnan(random_floor({"1": {"a": 1}}, Run({"1": [Hit("a", 1.0)]}), "precision@5"))


def test_the_floor_is_the_baselines():
    qrels = {"1": {"a": 1}}
    good, short = Run({"1": [Hit("a", 2.0), Hit("b", 1.0)]}), Run({"1": [Hit("a", 1.0)]})
    assert evaluate_runs(qrels, {"good": good, "short": short}, measures=["mrr"]).floor == {"RR(rel=1)": 0.75}
    found = evaluate_runs(qrels, {"good": good, "short": short}, measures=["mrr"], baseline="short")
    assert (found.floor, found.baseline) == ({"RR(rel=1)": 1.0}, "short")


# -- differences -------------------------------------------------------------------------------------------------------


def test_comparisons_are_paired_over_all_queries_of_the_qrels():
    from scipy.stats import ttest_rel

    qrels, hits = random_set(3, random.Random.random)
    rng = random.Random(0)
    runs = {
        "base": Run({qid: best_first(found) for qid, found in hits.items()}),
        "other": Run({qid: rng.sample(found, len(found)) for qid, found in hits.items()}),
        "third": Run({qid: found for qid, found in hits.items() if qid > "2"}),
    }
    found = evaluate_runs(qrels, runs)
    rows = {row.name: row.per_query for row in found.rows}
    assert [(c.system, c.measure) for c in found.comparisons] == [
        (name, label(measure)) for measure in MEASURES for name in ("other", "third")
    ]
    for c in found.comparisons:
        ours, theirs = ([rows[name][c.measure][qid] for qid in qrels] for name in (c.system, "base"))
        assert c.mean == pytest.approx(statistics.fmean(ours) - statistics.fmean(theirs))
        expected = 1.0 if ours == theirs else float(ttest_rel(ours, theirs).pvalue)  # scipy says NaN of no difference
        assert c.student == pytest.approx(expected)
    first, second = found.comparisons[:2]
    assert first.student_holm == pytest.approx(
        min(1, 2 * first.student if first.student < second.student else max(first.student, 2 * second.student))
    )


def test_a_run_does_not_differ_from_itself():
    qrels, hits = random_set(1, random.Random.random)
    run = Run({qid: best_first(found) for qid, found in hits.items()})
    [c] = evaluate_runs(qrels, {"a": run, "b": run}, measures=["map"]).comparisons
    assert (c.mean, c.low, c.high, c.student, c.fisher, c.effect) == (0, 0, 0, 1, 1, 0)


def test_intersection_leaves_out_what_a_run_lacks():
    qrels = {"1": {"a": 1}, "2": {"a": 1}}
    runs = {"whole": Run({"1": [Hit("a", 1.0)], "2": [Hit("b", 1.0)]}), "half": Run({"1": [Hit("a", 1.0)]})}
    found = evaluate_runs(qrels, runs, measures=["mrr"], intersection=True)
    assert [row.means["mrr"] for row in found.rows] == [1.0, 1.0]
    assert found.queries == ["1"]
    assert found.unanswered == {"half": ["2"]}
    with pytest.raises(RrarankError, match="drop intersection .--intersection."):
        evaluate_runs(qrels, runs | {"rest": Run({"2": [Hit("a", 1.0)]})}, intersection=True)


def test_the_level_is_added_to_all_but_ndcg():
    assert at_level(["ndcg@10", "map", "mrr@10", "recall@5-l3"], 2) == ["ndcg@10", "map-l2", "mrr@10-l2", "recall@5-l3"]
    assert at_level(["map"], 1) == ["map"]


def test_tukey_is_ranxs():
    import ranx

    qrels, hits = random_set(5, random.Random.random)
    qrels = {qid: grades for qid, grades in qrels.items() if qid in hits}
    rng = random.Random(0)
    runs = {
        name: Run(
            {q: [Hit(hit.docid, -float(i)) for i, hit in enumerate(rng.sample(h, len(h)))] for q, h in hits.items()}
        )
        for name in "abc"
    }
    rows = evaluate_runs(qrels, runs, measures=["mrr"]).rows
    falling = {n: {q: {h.docid: -float(i) for i, h in enumerate(r[q])} for q in qrels} for n, r in runs.items()}
    positive = {q: dict(grades.items()) for q, grades in qrels.items()}
    theirs = ranx.compare(
        ranx.Qrels(positive), [ranx.Run(r, name=n) for n, r in falling.items()], ["mrr"], stat_test="tukey"
    )
    for (a, b), p in tukey_hsd({row.name: [*row.per_query["mrr"].values()] for row in rows}).items():
        assert p == pytest.approx(theirs.comparisons[a, b]["mrr"]["p_value"])


@pytest.mark.parametrize("queries", [1, 3])
def test_tukey_says_nothing_where_nothing_varies(queries):
    qrels = {str(q): {"a": 1} for q in range(queries)}
    runs = {docid: Run({qid: [Hit(docid, 1.0)] for qid in qrels}) for docid in "ab"}
    frame = evaluate_runs(qrels, runs, measures=["mrr"]).to_pandas("tukey")
    assert list(zip(frame["system"], frame["other"], frame["measure"], strict=True)) == [("a", "b", "RR(rel=1)")]
    assert math.isnan(frame["p"][0])


# -- errors ------------------------------------------------------------------------------------------------------------

RUN = Run({"1": [Hit("a", 1.0)]})


def test_unknown_measures_are_refused_all_at_once():
    with pytest.raises(RrarankError) as error:
        evaluate_runs({"1": {"a": 1}}, {"r": RUN}, measures=["ndgc@10", "map", "nope", "ndcg@ten"])
    assert str(error.value).startswith(
        "measures (--measures): not understood: 'ndgc@10' (did you mean 'nDCG@10'?), 'nope', "
        "'ndcg@ten' (did you mean 'nDCG'?); "
        "known: nDCG, AP, RR, R, P, "
    )


GRADED = {"1": {"a": 2, "b": 1}}


def test_the_level_of_binary_measures_is_an_argument_and_said_once_where_it_is_open(caplog):
    _warn_once.cache_clear()
    assert evaluate_runs(GRADED, {"r": RUN}, measures="R", rel_level=2).rows[0].means == {"R(rel=2)": 1.0}
    found = evaluate_runs(GRADED, {"r": RUN}, measures=["R", "R(rel=1)", "R(rel=2)"], rel_level=2)
    assert found.rows[0].means == {"R(rel=2)": 1.0, "R(rel=1)": 0.5}
    for level in (0, -1, "2", 1.0, True, 10**6):
        with pytest.raises(RrarankError, match="^rel_level .--rel-level.: .*, expected a grade from 1 to 999,999$"):
            evaluate_runs(GRADED, {"r": RUN}, rel_level=level)  # type: ignore[arg-type]
    assert not caplog.messages
    again = [evaluate_runs(GRADED, {"r": RUN}, measures=["R", "recall"]) for _ in range(2)]
    assert [one.rows[0].per_query["recall"] for one in again] == [{"1": 0.5}] * 2
    assert caplog.messages == [
        "R(rel=1): grades of 1 and more count as relevant, and the judgments go up to 2; "
        "for TREC DL's figures give rel_level=2 (--rel-level 2)"
    ]


@pytest.mark.parametrize("measure", ["DCG_burges", "nDCG(dcg='exp-log2')@10"])
def test_a_grade_whose_gain_is_no_number_is_one_line(measure):
    with pytest.raises(RrarankError, match="burges.*: 2 to the power of the grade 2000 is no finite number"):
        evaluate_runs({"1": {"a": 2000}}, {"r": RUN}, measures=[measure])


def test_a_table_of_one_query_says_query():
    found = evaluate_runs({"1": {"a": 1}}, {"r\x1b": RUN}, measures="RR")
    assert repr(found) == "<Evaluation of r? by RR(rel=1) over 1 query>"
    assert "1 query." in str(found)


def test_a_run_that_shares_no_query_is_refused():
    with pytest.raises(RrarankError) as error:
        evaluate_runs({"01": {"a": 1}, "2": {"a": 1}, "3": {"a": 1}}, {"r": RUN})
    assert str(error.value) == "r: none of its queries ('1') is in the qrels ('01', '2' and 1 more); other topics?"


def test_an_unknown_baseline_is_refused():
    with pytest.raises(RrarankError) as error:
        evaluate_runs({"1": {"a": 1}}, {"r": RUN, "s": RUN}, baseline="bm25")
    assert str(error.value) == "no run named 'bm25' to compare with (runs: r, s)"


@pytest.mark.parametrize("measure", ["ndcg@0", "ndcg@-1", "map-l0"])
def test_a_cutoff_or_level_below_one_is_refused(measure):
    with pytest.raises(RrarankError, match="^measures .--measures.: "):
        evaluate_runs({"1": {"a": 1}}, {"r": RUN}, measures=[measure])


@pytest.mark.parametrize(("runs", "message"), [({}, "no runs"), ({"r": Run({"1": []})}, "none of its queries")])
def test_nothing_to_evaluate_is_refused(runs, message):
    with pytest.raises(RrarankError, match=message):
        evaluate_runs({"1": {"a": 1}}, runs)
