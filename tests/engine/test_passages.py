"""Passages: every word of a document in one, and a document's score from theirs."""

import itertools
import random

import pytest

from rrarank.data.types import Candidate, Hit, Query, Ranking
from rrarank.engine.passages import Passages, merge_passages, split_passages
from rrarank.errors import RrarankError

QUERY = Query("1", "q")


def ranking(*rows):
    return Ranking(QUERY, tuple(Candidate(docid, text, score) for docid, text, score in rows))


def split(text, passages):
    return [(c.docid, c.text) for c in split_passages(ranking(("d", text, 1.0)), passages).candidates]


@pytest.mark.parametrize(
    ("text", "passages", "found"),
    [
        ("a b c d e", Passages(2), ["a b", "c d", "e"]),
        ("a b c d", Passages(2), ["a b", "c d"]),
        ("a b c d e", Passages(3, stride=1), ["a b c", "b c d", "c d e"]),
        ("a b c d e", Passages(3, stride=2), ["a b c", "c d e"]),
        ("a b c d e f", Passages(3, stride=2), ["a b c", "c d e", "e f"]),
        ("a b", Passages(3), ["a b"]),
        ("a  b\n\tc", Passages(3), ["a b c"]),
        ("", Passages(3), [""]),
        ("...", Passages(3), ["..."]),
        ('he said "tea (green)" was', Passages(2), ["he said", '"tea (green)"', "was"]),
        ("茶は飲み物です。", Passages(3), ["茶は飲", "み物で", "す。"]),
        ("한국어 문장 세 개", Passages(3), ["한국어 문장 세", "개"]),
        ("a b c d e", Passages(2, aggregate="first"), ["a b"]),
    ],
)
def test_a_document_splits_into_numbered_passages(text, passages, found):
    assert split(text, passages) == [(f"d#{number}", passage) for number, passage in enumerate(found)]


@pytest.mark.parametrize("seed", range(10))
def test_every_word_is_in_a_passage_and_no_passage_is_for_nothing(seed):
    rng = random.Random(seed)
    words = [f"w{i}" for i in range(rng.randint(1, 60))]
    size = rng.randint(1, 12)
    found = [text.split() for _, text in split(" ".join(words), Passages(size, stride=rng.randint(0, size)))]
    assert all(len(passage) <= size for passage in found)
    assert {word for passage in found for word in passage} == set(words)
    assert all(set(later) - set(earlier) for earlier, later in itertools.pairwise(found))


@pytest.mark.parametrize("text", ["中文字符" * 2625, "日本語のテスト" * 1500, "ภาษาไทย" * 1500, "한국어 문장 " * 5000])
def test_no_script_makes_one_long_passage(text):
    found = [passage for _, passage in split(text, Passages(150))]
    assert max(map(len, found)) <= 150 * 5
    assert "".join(found).replace(" ", "") == text.replace(" ", "")


def test_zero_words_leave_documents_whole():
    given = ranking(("d", "a  b\nc", 1.0))
    assert split_passages(given, Passages()) is given
    assert merge_passages(given, Passages()) == [Hit("d", 1.0)]


def test_passages_keep_query_and_first_stage_score():
    given = ranking(("d", "a b c", 9.0), ("e", "f", 8.0))
    made = split_passages(given, Passages(2))
    assert made.query is QUERY
    assert [(c.docid, c.score) for c in made.candidates] == [("d#0", 9.0), ("d#1", 9.0), ("e#0", 8.0)]


@pytest.mark.parametrize(("aggregate", "score"), [("max", 5.0), ("first", 1.0), ("mean", 2.0)])
def test_a_documents_score_comes_from_its_passages(aggregate, score):
    scored = ranking(("d#0", "", 1.0), ("e#0", "", -3.0), ("d#1", "", 5.0), ("d#2", "", 0.0))
    merged = merge_passages(scored, Passages(1, aggregate=aggregate))
    assert merged == [Hit("d", score), Hit("e", -3.0)]


def test_docids_that_hold_the_mark_come_back_whole():
    given = ranking(("a#1", "x y", 1.0), ("a", "x y", 2.0), ("#", "x", 3.0))
    merged = merge_passages(split_passages(given, Passages(1)), Passages(1))
    assert merged == [Hit("a#1", 1.0), Hit("a", 2.0), Hit("#", 3.0)]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"aggregate": "sum"}, "aggregate 'sum', expected one of max, first, mean"),
        ({"words": -1}, "passages of -1 words with stride 0: neither may be negative"),
        ({"words": 2, "stride": -2}, "passages of 2 words with stride -2: neither may be negative"),
    ],
)
def test_odd_passages_are_refused(config, message):
    with pytest.raises(RrarankError) as error:
        Passages(**config)
    assert str(error.value) == message
