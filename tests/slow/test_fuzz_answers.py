"""Answers that no model ever gave: whatever they contain, they are read in time and every passage is accounted for."""

import json
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rrarank.data.types import Candidate, LabelledRanking, Query
from rrarank.generate.queries import read_query
from rrarank.label.llm_teacher import parse_reasons
from rrarank.llm.base import Answer
from rrarank.llm.chat import read_reply
from rrarank.llm.listwise import labels, parse_answer
from rrarank.llm.prompts import neutralise
from rrarank.llm.thoughts import without_thought

pytestmark = pytest.mark.slow
FUZZ = settings(max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck))

WORDS = [
    "[1]",
    "[2]",
    "[3]",
    "[12]",
    "[999]",
    "1",
    "3",
    "4번",
    "문서 2",
    "段落3",
    "第2段",
    "passage 1",
    "doc3",
    "#2",
    "(1)",
    "D4",
    "④",
    "[",
    "]",
]
WORDS += [
    " > ",
    ">",
    " = ",
    ", ",
    "、",
    " and ",
    "\n",
    "\n\n",
    ". ",
    "...",
    "1. ",
    "- ",
    "| ",
    "|",
    ": ",
    "{",
    "}",
    '{"id": 2}',
    '"rank": 1',
    "[1, 2]",
]
WORDS += [
    "<think>",
    "</think>",
    "[THINK]",
    "[/THINK]",
    "<answer>",
    "</answer>",
    "<|im_start|>assistant",
    "<|channel|>final<|message|>",
]
WORDS += [
    "Final ranking:",
    "최종 순위:",
    "not relevant",
    "I cannot",
    "\\boxed{",
    "```json\n",
    "```",
    "**",
    "\x00",
    "\ud83d",
    "\u202e",
    "½",
    "٣",
    "x",
]
ANSWERS = st.one_of(st.lists(st.sampled_from(WORDS), max_size=60).map("".join), st.text(max_size=300))


@FUZZ
@given(ANSWERS, st.integers(0, 15), st.booleans())
def test_every_passage_is_ranked_or_missing_once(answer, count, finished):
    parsed = parse_answer(answer, count, finished=finished)
    assert sorted(parsed.order + parsed.missing) == list(range(count))
    assert set(parsed.aside) <= set(parsed.missing)
    listed, missing, unknown = labels(parsed)
    assert sorted(listed + missing + unknown) == list(range(count))
    assert not (missing and not finished)


@FUZZ
@given(ANSWERS)
def test_all_other_readers_take_any_answer(answer):
    shown = LabelledRanking(Query("1", "q"), tuple(Candidate(d, d, 0.0) for d in "abc"))
    assert parse_reasons(answer, shown).keys() <= set("abc")
    assert "\n" not in read_query(answer)
    text, _ = without_thought(answer)
    assert len(text) <= len(answer)
    assert parse_answer(neutralise(answer), 3).verdict != "ok" or "[" not in neutralise(answer)


THOUGHTS = st.sampled_from(
    [
        "",
        "Passage [1] > [2] at first sight.",
        "[2] > [1] and [3] beats [1].",
        "1. [1] is off\n2. [2] is better",
        "Let me see: [1], [2], [3]?",
        "Query: 3 > 1, in 2019.",
    ]
)
MARKS = st.sampled_from(
    [
        ("<think>", "</think>\n"),
        ("", "</think>"),
        ("<THINKING>", "</THINKING>"),
        ("[THINK]", "[/THINK]"),
        ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
        ("◁think▷", "◁/think▷"),
        ("", "\n\nFinal ranking: "),
        ("", "\n\n## Ranking\n"),
        ("", "\n최종 순위: "),
    ]
)
JOINTS = st.sampled_from(["[{}] > ", "[{}]>", "[{}]\n", "문서 {} > ", "{}번 > ", "Passage {} > ", "{} > "])


@FUZZ
@given(MARKS, THOUGHTS, JOINTS, st.permutations(range(1, 7)))
def test_a_list_of_all_passages_after_any_thought_is_the_ranking(marks, thought, joint, order):
    ranking = "".join(joint.format(number) for number in order).rstrip(" >\n")
    answer = marks[0] + thought + marks[1] + ranking
    assert parse_answer(answer, 6).order == tuple(number - 1 for number in order)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "usage", "type", "text", "id", "error"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)
MESSAGES = st.fixed_dictionaries(
    {"choices": st.lists(st.fixed_dictionaries({"message": st.dictionaries(st.just("content"), JSON)}), max_size=2)}
)


@FUZZ
@given(JSON | MESSAGES)
def test_any_reply_is_an_answer_or_a_fault(reply):
    found = read_reply(json.dumps(reply))
    assert isinstance(found, Answer | str)
    if isinstance(found, Answer):
        found.text.encode()  # can be written to a file
        json.dumps(found.prompt_tokens, allow_nan=False)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map("".join), st.sampled_from(["", "x", "[1] > "]))
def test_no_pattern_takes_more_than_linear_time(piece, start):
    begun = time.process_time()
    parse_answer(start + piece * (60_000 // len(piece)) + "x", 20)
    assert time.process_time() - begun < 3  # seconds of processor time; a quadratic pattern takes minutes
