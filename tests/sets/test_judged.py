"""Judgments over a set: what training then learns, and what it still has from the teacher."""

import random

from rrarank.data.types import Candidate, LabelledRanking, Query
from rrarank.sets.judged import judged
from rrarank.train.lists import training_list

SCORES = {"a": 0.9, "b": 0.8, "c": 0.1}


def label(listed="", missing="", unknown="", qid="1", **more):
    shown = tuple(Candidate(docid, f"text {docid}", 0.0) for docid in sorted(listed + missing + unknown))
    return LabelledRanking(Query(qid, "tea"), shown, tuple(listed), tuple(missing), tuple(unknown), **more)


def grades(given, qrels):
    return [found.provenance["grades"] for found in judged([given], {"1": qrels})]


def test_relevant_documents_get_their_grades_whether_listed_or_missing():
    assert grades(label("ab", "cd"), {"a": 3, "d": 1}) == [{"a": 3, "d": 1}]


def test_what_is_judged_not_relevant_gets_none():
    assert grades(label("abc"), {"a": 1, "b": 0, "c": -1}) == [{"a": 1}]


def test_what_was_not_shown_gets_none():
    assert grades(label("ab", not_shown=("x",)), {"a": 1, "x": 2, "y": 3}) == [{"a": 1}]


def test_unknown_documents_get_none():
    assert grades(label("a", "b", "c"), {"a": 1, "c": 3}) == [{"a": 1}]


def test_a_query_that_shows_nothing_relevant_goes():
    labels = [label("ab", qid="1"), label("ab", qid="2"), label("a", unknown="b", qid="3"), label("ab", qid="4")]
    qrels = {"1": {"b": 1}, "2": {"a": 0, "x": 2}, "3": {"b": 2}}
    assert [found.query.qid for found in judged(labels, qrels)] == ["1"]


def test_the_rest_of_the_label_stays_and_so_does_the_original():
    given = label("ab", "c", "d", provenance={"teacher": "bi-encoder", "scores": SCORES})
    [found] = judged([given], {"1": {"b": 2}})
    assert (found.listed, found.missing, found.unknown) == (given.listed, given.missing, given.unknown)
    assert found.provenance == {"teacher": "bi-encoder", "scores": SCORES, "grades": {"b": 2}}
    assert "grades" not in given.provenance


def test_training_takes_the_grades_for_levels_and_the_teachers_scores():
    [found] = judged([label("abc", unknown="d", provenance={"scores": SCORES})], {"1": {"b": 2, "c": 1}})
    learned = training_list(found, "hard-negative", random.Random(0))
    assert learned is not None
    assert list(zip(learned.texts, learned.levels, learned.scores, strict=True)) == [
        ("text b", 2.0, 0.8),
        ("text c", 1.0, 0.1),
        ("text a", 0.0, 0.9),
    ]
