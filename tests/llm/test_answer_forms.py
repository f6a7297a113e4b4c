"""Forms in which models rank four passages, most of them after a thought: the last list of all passages wins."""

import json
import time
from pathlib import Path

import pytest

from rrarank.llm.listwise import labels, parse_answer
from rrarank.llm.thoughts import without_thought

FORMS = [json.loads(line) for line in Path(__file__).with_name("answer_forms.jsonl").read_text().splitlines()]
THOUGHT = "Passage [1] > [2] at first sight, but the last ones fit better."


@pytest.mark.parametrize("answer", [row["answer"] for row in FORMS], ids=[row["form"] for row in FORMS])
def test_the_final_ranking_is_read(answer):
    assert parse_answer(answer, 4).order == (3, 2, 1, 0)


@pytest.mark.parametrize(
    ("answer", "order"),
    [
        (f"{THOUGHT} Final ranking: [4] > [3]", (3, 2)),
        (f"{THOUGHT}\n\n최종 순위: 4번 > 3번", (3, 2)),
        (f"<think>{THOUGHT}</think>[4] > [3]", (3, 2)),
        (f"{THOUGHT}<answer>[4] > [3]</answer>", (3, 2)),
        ("[1] > [2] > [3] > [4]\nFinal ranking: [4] > [3]", (3, 2)),
        ("[1] > [2] first. Then: [4] > [1] > [2]", (3, 0, 1)),
        ("<answer>[1] > [2]</answer> No: <answer>[4] > [3]</answer>", (3, 2)),
        ("[3] > [1]\n\n[1] helps\n[2] is off\n[3] is the best\n[4] is off", (2, 0)),
        ("Maybe [1] > [2]? <answer>none</answer>", ()),
        ("<THINK>[1] > [2]", ()),
    ],
)
def test_a_ranking_of_some_passages_is_told_from_a_thought(answer, order):
    assert parse_answer(answer, 4).order == order


def test_ids_of_a_thought_outside_marks_are_no_hard_negatives():
    listed, missing, unknown = labels(parse_answer("[1] beats [2]. Final ranking: [4] > [3]", 5))
    assert (listed, missing, unknown) == ((3, 2), (4,), (0, 1))


@pytest.mark.parametrize(
    ("answer", "text", "is_open"),
    [
        ("<think>a <think> b</think> c</think>d", "d", False),
        ("a</think>b", "b", False),
        ("a<think>b", "a", True),
        ("[THINK]a[/THINK]b<reflection>c</reflection>", "b", False),
        ("<|im_start|>assistant\na<|im_end|>\n<|im_start|>assistant\n", "\na<|im_end|>\n", False),
        ("I think <b>so</b>", "I think <b>so</b>", False),
        ("<think>a<answer>b 1</answer>", "b 1", False),
    ],
)
def test_what_is_left_without_thoughts(answer, text, is_open):
    assert without_thought(answer) == (text, is_open)


ENDLESS = [
    ".",
    "[1].",
    "... ",
    "[1]..",
    "{",
    "}",
    '{"id": 1} ',
    '{"id": 1',
    "<think>",
    "</think>",
    "<answer>",
    "1번 ",
    "문서 1, ",
]
ENDLESS += [
    "Passage 1 ",
    "(1) > ",
    "| 1 | ",
    "[1] |",
    "final ranking ",
    "\n",
    "Rank 1: ",
    "ranking: ",
    "<id>1</id>",
    "a ",
    "=>",
    "1==",
]


@pytest.mark.parametrize("endless", ENDLESS)
@pytest.mark.parametrize("start", ["", "[1] > [2] ", "{"])
def test_reading_takes_linear_time(endless, start):
    started = time.perf_counter()
    parse_answer(start + endless * 10_000 + "x", 20)
    assert time.perf_counter() - started < 2  # seconds; a quadratic pattern takes minutes
