"""Which passage an answer chooses, and whether it says yes."""

import math

import pytest

from rrarank.llm.choices import read_label, read_number, read_yes_no


@pytest.mark.parametrize(
    ("answer", "place"),
    [
        ("[2]", 1),
        ("2", 1),
        ("Passage 2", 1),
        ("The best passage is [2].", 1),
        ("<think>[1] looks good, or [3]</think>[2]", 1),
        ("**[2]**", 1),
        ("[2] > [1] > [3]", 1),
        ("2번", 1),
        ("두 번째 문서", None),
        ("[4]", None),
        ("[1] or [2]", None),
        ("none", None),
        ("", None),
        ("Passage [1] is about cats and [3] about dogs.\nAnswer: [2]", 1),
    ],
)
def test_the_number_of_one_passage(answer, place):
    assert read_number(answer, 3) == place


@pytest.mark.parametrize(
    ("answer", "labels", "place"),
    [
        ("Passage A", "AB", 0),
        ("Passage B is better.", "AB", 1),
        ("B", "AB", 1),
        ("<think>A? B?</think> A", "AB", 0),
        ("A or B", "AB", None),
        ("Both are equal.\nPassage B", "AB", 1),
        ("neither", "AB", None),
        ("Document1", ("Document0", "Document1"), 1),
        ("true", ("Document0", "Document1"), 0),
        ("false", ("Document0", "Document1"), 1),
    ],
)
def test_the_label_of_one_of_two(answer, labels, place):
    assert read_label(answer, tuple(labels)) == place


def test_the_log_odds_are_of_all_spellings():
    first = {"Yes": math.log(0.5), " yes": math.log(0.1), "No": math.log(0.3), "Maybe": math.log(0.1)}
    assert read_yes_no("Yes", first) == pytest.approx(math.log(0.6 / 0.3))
    assert read_yes_no("예", {"예": math.log(0.8), "아니요": math.log(0.2)}) == pytest.approx(math.log(4))


def test_what_is_not_among_the_alternatives_is_at_most_as_likely_as_the_last():
    assert read_yes_no("Yes", {"Yes": -0.1, "The": -4.0, "It": -6.0}) == pytest.approx(5.9)
    assert read_yes_no("No", {"No": -0.1, "It": -6.0}) == pytest.approx(-5.9)
    assert read_yes_no("Sure", {"Sure": -0.1, "It": -6.0}) is None


@pytest.mark.parametrize(("answer", "score"), [("Yes.", 1.0), ("no", -1.0), ("예", 1.0), ("Perhaps", None), ("", None)])
def test_without_probabilities_only_the_word_counts(answer, score):
    assert read_yes_no(answer, {}) == score
