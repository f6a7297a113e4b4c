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
        ('{"reason": "The tag <think> is in [4].", "ranking": [4, 3]}', (3, 2)),
        ('{"ranking": [4, 3], "reason": "</think> is in [4]"}', (3, 2)),
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


# -- numbers beside ids, JSON, refusals ------------------------------------------------------------------------------

TABLE = "| {0} | {1} |\n|---|---|\n"


@pytest.mark.parametrize(
    "answer",
    [
        '{"reasoning": "[1] > [2] > [3] > [4] at first", "ranking": [3, 1, 4, 2]}',
        '{"ranking": [3, 1, 4, 2], "explanation": "[1] > [2] > [3] > [4] would be wrong"}',
        '```json\n{"thought": "[1] > [2]", "final_ranking": "[3] > [1] > [4] > [2]"}\n```',
        'Here you are: {"answer": {"ranking": ["doc_3", "doc_1", "[4]", "2"]}}',
        '{"results": [{"id": 1, "score": 7}, {"id": 3, "score": 9}, {"id": 2, "score": 0}, {"id": 4, "score": 1}]}',
        '{"[1]": 7, "[2]": 1, "[3]": 9, "[4]": 3}',
        '{"1": 0.7, "2": 0.1, "3": 0.9, "4": 0.3}',
        "[1]: 7/10\n[2]: 1/10\n[3]: 9/10\n[4]: 3/10",
        "Passage [1]: 0.70\nPassage [2]: 0.10\nPassage [3]: 0.90\nPassage [4]: 0.30",
        "[1]: rank 2\n[2]: rank 4\n[3]: rank 1\n[4]: rank 3",
        TABLE.format("id", "rank") + "| 1 | 2 |\n| 2 | 4 |\n| 3 | 1 |\n| 4 | 3 |",
        TABLE.format("Rank", "Passage") + "| 1 | 3 |\n| 2 | 1 |\n| 3 | 4 |\n| 4 | 2 |",
        "rank,id\n1,3\n2,1\n3,4\n4,2",
        "From least to most relevant: [2] < [4] < [1] < [3]",
        "가장 관련 있는 문서는 3번이고, 그 다음은 1번, 4번, 2번 순입니다.",
    ],
)
def test_a_structured_ranking_is_read_by_its_numbers_and_fields(answer):
    parsed = parse_answer(answer, 4)
    assert [place + 1 for place in parsed.order + parsed.missing] == [3, 1, 4, 2]


def test_json_of_what_is_not_relevant_is_no_ranking():
    assert parse_answer('{"irrelevant": [4, 2], "relevant": [3, 1]}', 4).order == (2, 0)


@pytest.mark.parametrize("answer", ["[1]: 2\n[2]: 4\n[3]: 1\n[4]: 3", '{"1": 2, "2": 4, "3": 1, "4": 3}'])
def test_numbers_that_could_be_ranks_or_scores_are_no_ranking(answer):
    assert parse_answer(answer, 4).verdict == "no ids"


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't rank these passages. Passage [2] contains content that I cannot discuss.",
        "Sorry, I can't compare passage [4] with passage [3].",
        "죄송하지만 [2]번 문서의 내용 때문에 답변할 수 없습니다.",
        "抱歉，我无法对段落[2]进行排序。",
    ],
)
def test_a_refusal_that_names_a_passage_ranks_nothing(answer):
    parsed = parse_answer(answer, 4)
    assert (parsed.verdict, parsed.order) == ("refused", ())
    assert labels(parsed) == ((), (), (0, 1, 2, 3))


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
    "[1] < ",
    "[1]: 7/10\n",
    "| id | rank |\n",
    "rank,id\n1,2\n",
    '{"a": [1, ',
    "```json\n{}\n```\n",
]


@pytest.mark.parametrize("endless", ENDLESS)
@pytest.mark.parametrize("start", ["", "[1] > [2] ", "{"])
def test_reading_takes_linear_time(endless, start):
    started = time.process_time()
    parse_answer(start + endless * 10_000 + "x", 20)
    assert time.process_time() - started < 20  # of the processor, about .2 here; a quadratic pattern takes minutes
