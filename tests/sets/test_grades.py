"""Judgments from rankings."""

import re

import pytest

from rrarank.data.types import Candidate, LabelledRanking, Query
from rrarank.errors import RrarankError
from rrarank.sets.grades import Steps, grade


def label(listed="", missing="", unknown="", qid="1", **more):
    shown = tuple(Candidate(docid, f"text {docid}", 0.0) for docid in sorted(listed + missing + unknown))
    return LabelledRanking(Query(qid, "tea"), shown, tuple(listed), tuple(missing), tuple(unknown), **more)


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
