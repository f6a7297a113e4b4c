"""Cohen's kappa, its intervals, and what they say about a judge."""

import math
import random

import numpy as np
import pytest

from rrarank.data.types import Hit, Run
from rrarank.measures.kappa import JudgeAgreement, cohens_kappa, judge_agreement


def grades(queries, documents=8, seed=0, choices=(0, 0, 0, 1, 2, 3)):
    rng = random.Random(seed)
    return {str(q): {f"d{d}": rng.choice(choices) for d in range(documents)} for q in range(queries)}


def blurred(people, right, seed=1, choices=range(4)):
    """A judge that gives people's grade with this probability, else a random one."""
    rng = random.Random(seed)
    return {
        qid: {d: g if rng.random() < right else rng.choice(choices) for d, g in found.items()}
        for qid, found in people.items()
    }


def columns(people, judge):
    return zip(*((grade, judge[qid][d]) for qid, found in people.items() for d, grade in found.items()), strict=True)


@pytest.mark.parametrize("right", [0.0, 0.5, 0.9, 1.0])
def test_kappas_are_those_of_scikit_learn(right):
    sklearn = pytest.importorskip("sklearn.metrics")
    people = grades(30)
    judge = blurred(people, right)
    found = judge_agreement(people, judge)
    ours, theirs = columns(people, judge)
    assert found.kappa.value == pytest.approx(sklearn.cohen_kappa_score(ours, theirs))
    assert found.quadratic.value == pytest.approx(sklearn.cohen_kappa_score(ours, theirs, weights="quadratic"))
    relevant = [[grade >= 2 for grade in side] for side in (ours, theirs)]
    assert found.binary.value == pytest.approx(sklearn.cohen_kappa_score(*relevant))
    assert found.confusion == sklearn.confusion_matrix(ours, theirs, labels=range(4)).tolist()


def test_kappa_of_a_table_by_hand():
    table = np.array([[20.0, 5.0], [10.0, 15.0]])  # observed .7, by chance .5
    assert cohens_kappa(table) == pytest.approx(0.4)
    assert np.isnan(cohens_kappa(np.array([[9.0, 0.0], [0.0, 0.0]])))
    assert cohens_kappa(np.stack([table, table * 7])).tolist() == pytest.approx([0.4, 0.4])


def test_only_documents_that_both_graded_count():
    people, judge = {"1": {"a": 2, "b": 0}, "2": {"a": 1}}, {"1": {"a": 2, "x": 3}, "3": {"a": 1}}
    found = judge_agreement(people, judge)
    assert (found.pairs, found.queries, found.confusion[2][2]) == (1, 1, 1)


def test_grades_of_other_scales_are_clipped():
    found = judge_agreement({"1": {"a": -2, "b": 4}}, {"1": {"a": 0, "b": 3}})
    assert (found.confusion[0][0], found.confusion[3][3]) == (1, 1)


@pytest.mark.parametrize("queries", [8, pytest.param(40, marks=pytest.mark.slow)])
def test_intervals_cover_the_kappa_of_all_queries_about_as_often_as_they_say(queries):
    everything = grades(4_000, seed=5)
    judge = blurred(everything, 0.4)
    truth = judge_agreement(everything, judge).quadratic.value
    rng, covered = random.Random(6), 0
    for _ in range(60):
        some = {qid: everything[qid] for qid in rng.sample([*everything], queries)}
        found = judge_agreement(some, judge).quadratic
        covered += found.low <= truth <= found.high
    assert 50 <= covered <= 60


def test_the_interval_resamples_queries_not_documents():
    """Queries on which the judge is always right or always wrong: the documents of one say the same."""
    people = grades(30, documents=40, choices=(0, 3))
    wrong = {qid: {d: 3 - g for d, g in found.items()} for qid, found in people.items()}
    judge = {qid: (people if int(qid) % 2 else wrong)[qid] for qid in people}
    found = judge_agreement(people, judge)
    assert found.quadratic.low < -0.2
    assert found.quadratic.high > 0.2
    assert found.verdict == "useless"
    assert found == judge_agreement(people, judge)


# -- the verdict -------------------------------------------------------------------------------------------------------


def test_a_judge_that_mostly_sees_what_people_see_agrees():
    people = grades(20)
    found = judge_agreement(people, blurred(people, 0.6))
    assert found.verdict == "agrees"
    assert found.sentence.startswith("this judge agrees with the assessors beyond chance: quadratic kappa 0.")
    assert found.sentence.endswith(" over 160 documents of 20 queries")


@pytest.mark.parametrize("queries", [6, 40])
def test_a_judge_that_guesses_is_useless(queries):
    people = grades(queries)
    found = judge_agreement(people, blurred(people, 0.0))
    assert found.verdict == "useless"
    assert found.sentence.startswith("this judge does not agree with the assessors beyond chance: quadratic kappa ")


def test_a_judge_that_gives_one_grade_is_useless():
    people = grades(20)
    found = judge_agreement(people, {qid: dict.fromkeys(one, 2) for qid, one in people.items()})
    assert found.verdict == "useless"
    assert found.sentence.endswith("beyond chance: it gave all 160 documents the grade 2")


def test_a_judge_that_turns_the_scale_round_is_useless():
    people = grades(20)
    found = judge_agreement(people, {qid: {d: 3 - g for d, g in one.items()} for qid, one in people.items()})
    assert found.quadratic.high < 0
    assert found.verdict == "useless"


def test_a_judge_that_mostly_gives_no_grade_is_useless():
    people = grades(20)
    found = judge_agreement({"1": people["1"], "2": people["2"]}, people, ungraded=40)
    assert found.verdict == "useless"
    assert found.sentence.endswith("beyond chance: it gave no grade to 40 of 56 documents")
    assert judge_agreement(people, people, ungraded=40).verdict == "agrees"


def test_peoples_grades_of_0_and_1_are_compared_as_relevant_or_not():
    people = grades(20, choices=(0, 1))
    judge = {qid: {d: 3 * g for d, g in one.items()} for qid, one in people.items()}
    found = judge_agreement(people, judge)
    assert found.levels == (1, 2)
    assert (found.decisive[0], found.binary.value, found.verdict) == ("binary kappa", 1.0, "agrees")


@pytest.mark.parametrize(
    ("people", "why"),
    [
        (grades(2), "16 documents, expected 30 or more"),
        (grades(1, documents=40), "they are of one query"),
        (grades(20, choices=(1,)), "the assessors gave all 160 documents the grade 1"),
        ({}, "0 documents, expected 30 or more"),
    ],
)
def test_too_little_is_no_verdict(people, why):
    found = judge_agreement(people, blurred(people, 0.5))
    assert found.verdict == "unknown"
    assert found.sentence == f"too little to tell whether this judge agrees with the assessors: {why}"


# -- systems -----------------------------------------------------------------------------------------------------------


def noisy(people, noise, seed):
    rng = random.Random(seed)
    hits = {
        qid: sorted((Hit(d, g + rng.gauss(0, noise)) for d, g in found.items()), key=lambda hit: -hit.score)
        for qid, found in people.items()
    }
    return Run(hits)


def test_the_order_of_systems_is_kendalls_tau_between_their_means():
    from scipy.stats import kendalltau

    from rrarank.measures.scores import evaluate_runs

    people = grades(25)
    judge = blurred(people, 0.3)
    runs = {f"s{i}": noisy(people, 0.2 + i / 2, i) for i in range(8)}
    order = judge_agreement(people, judge, runs, measure="ndcg@5").order
    assert order is not None
    means = [
        [row.means["ndcg@5"] for row in evaluate_runs(qrels, runs, measures=["ndcg@5"]).rows]
        for qrels in (people, judge)
    ]
    assert order.tau.value == pytest.approx(kendalltau(*means).statistic)
    assert -1 <= order.tau.low < order.tau.high <= 1
    assert (order.systems, order.measure) == (8, "nDCG@5")
    same = judge_agreement(people, people, runs).order
    assert same is not None
    assert [same.tau.value, same.tau.low] == pytest.approx([1, 1])


def test_two_systems_have_no_order_worth_a_figure():
    people = grades(20)
    runs = {name: noisy(people, 1.0, seed) for seed, name in enumerate("ab")}
    assert judge_agreement(people, people, runs).order is None


def test_an_undefined_kappa_prints_as_such():
    found = judge_agreement({"1": {"a": 1}}, {"1": {"a": 1}})
    assert isinstance(found, JudgeAgreement)
    assert math.isnan(found.kappa.value)
    assert str(found.kappa) == "undefined"
