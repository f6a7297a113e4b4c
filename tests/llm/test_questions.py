"""How a model is asked: what the question holds, what its key hangs on, and that it fits."""

import json
from dataclasses import replace

import pytest

from rrarank.errors import RrarankError
from rrarank.llm.base import LLM, Answer, LLMConfig
from rrarank.llm.load import load_llm
from rrarank.llm.prompts import MESSAGE_TOKENS, load_prompt
from rrarank.llm.questions import PromptedLLM, is_complete

PASSAGES = ["tea is a drink", "cats are not", "why not both"]


def prompted(model="any", url="http://localhost:1/v1", prompt="relevant-only", longest=300, context=8192, **settings):
    return PromptedLLM(load_llm(LLMConfig(model, url, **settings)), load_prompt(prompt), prompt, longest, context)


def said(messages):
    return "\n".join(message["content"] for message in messages)


class Letters(LLM):
    """A model whose tokens are letters, as a tokenizer at hand would count them."""

    def answers(self, questions):
        return iter(())

    @property
    def count_tokens(self):
        return len


# -- the question ------------------------------------------------------------------------------------------------------


def test_a_question_holds_the_query_and_each_passage_with_its_number():
    _, messages = prompted().question("what is tea", PASSAGES)
    assert [message["role"] for message in messages] == ["system", "user"]
    assert "Query: what is tea" in messages[1]["content"]
    assert "[1] tea is a drink\n[2] cats are not\n[3] why not both\n" in messages[1]["content"]


def test_what_is_added_ends_the_question():
    plain, with_ranking = (prompted().question("q", PASSAGES, addition)[1] for addition in ("", "\nRanking: [2] > [1]"))
    assert with_ranking[-1]["content"] == plain[-1]["content"] + "\nRanking: [2] > [1]"
    assert with_ranking[:-1] == plain[:-1]


def test_the_key_hangs_on_all_that_determines_the_answer():
    asked = [
        prompted().question("q", PASSAGES),
        prompted(model="other").question("q", PASSAGES),
        prompted(temperature=0.5).question("q", PASSAGES),
        prompted(max_tokens=99).question("q", PASSAGES),
        prompted(seed=1).question("q", PASSAGES),
        prompted(stop=("\n",)).question("q", PASSAGES),
        prompted(extra={"top_k": 1}).question("q", PASSAGES),
        prompted(prompt="rank-all").question("q", PASSAGES),
        prompted(longest=2).question("q", PASSAGES),
        prompted().question("r", PASSAGES),
        prompted().question("q", PASSAGES[::-1]),
        prompted().question("q", PASSAGES, "!"),
    ]
    assert len({key for key, _ in asked}) == len(asked)


def test_the_key_hangs_on_nothing_else():
    same = [
        prompted(),
        prompted(url="http://another.host:8000/v1"),
        prompted(in_flight=1, retries=0, timeout_s=1.0, total_s=2.0),
        prompted(api_key_env="OTHER_KEY"),
        prompted(longest=200, context=4096),  # nothing was cut
        replace(prompted(), name="my-copy"),
    ]
    assert len({one.question("q", PASSAGES)[0] for one in same}) == 1


# -- that it fits ------------------------------------------------------------------------------------------------------


def test_a_passage_is_cut_to_the_longest():
    _, messages = prompted(longest=4).question("q", ["one two three four five six"])
    assert "[1] one two three\n" in said(messages)
    assert "four" not in said(messages)


@pytest.mark.parametrize("addition", ["", "\nRanking: " + " > ".join(f"[{place}]" for place in range(1, 21))])
@pytest.mark.parametrize("max_tokens", [10, 500])
def test_question_addition_and_answer_stay_within_the_context(max_tokens, addition):
    context = 2500
    llm = Letters(LLMConfig("letters", max_tokens=max_tokens))
    one = PromptedLLM(llm, load_prompt("relevant-only"), "relevant-only", passage_tokens=300, context=context)
    passages = ["a b c d e " * 40] * 10
    _, messages = one.question("why", passages, addition)
    taken = sum(len(message["content"]) + MESSAGE_TOKENS for message in messages)
    assert context - max_tokens - 10 * 3 < taken <= context - max_tokens  # and little room is wasted
    assert messages[-1]["content"].endswith(addition)


def test_what_cannot_fit_is_refused_in_one_line():
    with pytest.raises(
        RrarankError, match=r"a prompt of 3 passages does not fit in 76 tokens.*show fewer passages, or give a"
    ):
        prompted(context=1100).question("q", ["word " * 100] * 3)


def test_a_tokenizer_at_hand_does_the_counting():
    llm = Letters(LLMConfig("letters"))
    one = PromptedLLM(llm, load_prompt("relevant-only"), "relevant-only", passage_tokens=12)
    _, messages = one.question("q", PASSAGES)
    assert "[1] tea is a\n[2] cats are not\n[3] why not both\n" in said(messages)
    assert one.tokens("q", PASSAGES) == (sum(len(message["content"]) for message in messages), 15)


def test_tokens_are_estimated_without_one():
    asked, answered = prompted().tokens("q", PASSAGES)
    _, messages = prompted().question("q", PASSAGES)
    assert answered == 15  # `[1] > ` takes five
    assert 1 <= asked / len(said(messages).split()) < 1.5


# -- what is on record -------------------------------------------------------------------------------------------------


def test_provenance_is_json_and_names_no_host():
    one = prompted(url="http://secret.host:8000/v1", extra={"top_k": 1})
    found = one.provenance(Answer("[1]", "stop", 7, 3, "any-2026", "chatcmpl-1"))
    assert json.loads(json.dumps(found)) == found
    assert "secret.host" not in json.dumps(found)
    assert found["tokens"] == [7, 3]
    wanted = {"model": "any", "answered_by": "any-2026", "answer_id": "chatcmpl-1", "finish_reason": "stop"}
    assert wanted.items() <= found.items()


@pytest.mark.parametrize(
    ("reason", "by_itself"),
    [("stop", True), ("", True), ("eos", True), ("tool_calls", False), ("abort", False), ("length", False)],
)
def test_an_answer_that_was_cut_short_did_not_end_by_itself(reason, by_itself):
    assert is_complete(Answer("[1]", reason)) == by_itself
