"""The grade in an LLM's answer: read by one strict rule, or not at all."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rrarank.llm.grade_answers import FAULTS, GradeReading, read_grade

READ = [
    ("##final score: 2", 2),
    ("## Final Score: 3", 3),
    ("**Final score:** 1", 1),
    ("##final score: <2>", 2),
    ("Final Score\n2", 2),
    ("final score = 2", 2),
    ("Final answer: 2", 2),
    ("final relevance score: 2", 2),
    ("Overall grade - 2", 2),
    ("final score (O): 0", 0),
    ("M: 2\nT: 1\nO: 3", 3),
    ('{"M": 3, "T": 3, "O": 1}', 1),
    ('{"final_score": 2}', 2),
    ('```json\n{"score": "2", "reason": "it has 3 facts"}\n```', 2),
    ('{"relevance": 2}', 2),
    ("Grade: 2", 2),
    ("The grade is 2.", 2),
    ("I give this passage a score of 2.", 2),
    ("Relevance score: 1/3", 1),
    ("Score: 2 out of 3", 2),
    ("Score: 2.0", 2),
    ("Score (0-3): 2", 2),
    ("Relevance: high. Score: 2", 2),
    ("Score: 2. As I said, score: 2", 2),
    ("2", 2),
    ("0.", 0),
    ("**3**", 3),
    ("$\\boxed{2}$", 2),
    ("It answers the query.\n\n1", 1),
    ("<answer>2</answer>", 2),
    ("최종 점수: 2", 2),
    ("최종 점수：３", 3),
    ("점수는 2점입니다", 2),
    ("등급: 3", 3),
    ("관련도 점수: 0점", 0),
    ("2점입니다.", 2),
]
NOT_READ = [
    ("", "no grade"),
    ("I'm sorry, I cannot help with that.", "no grade"),
    ("##final score: score", "no grade"),
    ("The passage has 2 parts.", "no grade"),
    ("the relevance of 3 facts", "no grade"),
    ("Score: two", "no grade"),
    ("scorecard 3", "no grade"),
    ("score: 0-3", "no grade"),
    ("Score: 0 to 3", "no grade"),
    ("Grade: 1 or 2", "no grade"),
    ("score: 70%", "no grade"),
    ("Assign category 1 if it is related, category 2 if it is important.", "no grade"),
    ("1. The passage\n2. The query", "no grade"),
    ("점수: 3점 만점에 2점", "no grade"),
    ("Score: 2\nScore: 3", "several grades"),
    ("0\n1\n2\n3", "several grades"),
    ("Score: 2.5", "not a grade from 0 to 3"),
    ("Score: 5", "not a grade from 0 to 3"),
    ("Score: -1", "not a grade from 0 to 3"),
    ("Score: 8/10", "not a grade from 0 to 3"),
    ("Score: 1/1", "not a grade from 0 to 3"),
    ("10", "not a grade from 0 to 3"),
    ("##final score: 12", "not a grade from 0 to 3"),
    ("<think>It says so. Score: 2", "cut short"),
]


@pytest.mark.parametrize(("answer", "grade"), READ)
def test_a_grade_is_read_in_whatever_form_it_is_said(answer, grade):
    assert read_grade(answer) == GradeReading(grade)


@pytest.mark.parametrize(("answer", "fault"), NOT_READ)
def test_what_is_not_one_grade_is_none(answer, fault):
    assert read_grade(answer) == GradeReading(None, fault)


def test_thoughts_do_not_count_and_the_last_final_grade_does():
    assert read_grade("<think>score: 3</think>##final score: 1").grade == 1
    assert read_grade("##final score: 2\nNo, wait.\n##final score: 3").grade == 3
    assert read_grade("Score: 0\n##final score: 3").grade == 3


@pytest.mark.parametrize(
    ("answer", "grade"),
    [
        ("##final score: 2\nThe passage says that", 2),
        ("##final score: 2", None),  # 2.5 might have followed
        ("##final score: 2\n##final score: 3\n##final", None),
        ("Grade: 2\nThe passage says that", None),
        ("2\nbecause", None),
    ],
)
def test_of_an_answer_that_was_cut_off_only_a_final_grade_counts(answer, grade):
    assert read_grade(answer, finished=False).grade == grade


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(["final ", "score", "점수", ": ", "2", "7", "/3", "\n", "(", "O", "{", "<think>", "-", "."])
    )
)
def test_any_answer_gives_a_grade_or_a_fault(parts):
    for finished in (True, False):
        reading = read_grade("".join(parts), finished=finished)
        assert (reading.grade in range(4)) != (reading.fault in FAULTS)


def test_long_answers_are_read_in_time():
    rng = random.Random(0)
    parts = ["final ", "score ", "점수", "(", "\\boxed{", "2\n", "*", "'", "- ", "3"]
    for text in [*(part * 20_000 for part in parts), "score:" + " " * 50_000, "".join(rng.choices(parts, k=20_000))]:
        begin = time.process_time()
        read_grade(text)
        assert time.process_time() - begin < 20
