"""A language model as teacher: what its answer makes of a list, what is on record, what is asked, and how often."""

import json
import time
from dataclasses import replace
from typing import Any

import pytest
from openai_server import (  # type: ignore[import-not-found]  # pytest finds it beside this file's folder
    BEHAVIOURS,
    Reply,
    answer,
    completion,
    serving,
)

from rrarank.data.types import Candidate, LabelledRanking, Query
from rrarank.label.llm_teacher import LLMTeacher, parse_reasons, read_answer
from rrarank.llm.base import Answer, Failure, LLMConfig
from rrarank.llm.load import load_llm
from rrarank.llm.prompts import load_prompt
from rrarank.llm.questions import PromptedLLM
from rrarank.storage.journal import Journal

pytestmark = pytest.mark.usefixtures("no_endpoint")


def shown(docids="abcd", qid="1", query="why"):
    """A list of one-letter docids, as `worth_asking` makes it."""
    candidates = tuple(Candidate(docid, f"text {docid}", 0.0) for docid in docids)
    return LabelledRanking(Query(qid, query), candidates, provenance={"preranker": "bm25"})


def places(label):
    return "".join(label.listed), "".join(label.missing), "".join(label.unknown)


def prompted_at(server, prompt="relevant-only", **settings: Any):
    settings = {"retries": 0, "timeout_s": 5.0, "total_s": 5.0, **settings}
    return PromptedLLM(load_llm(LLMConfig("any", server.url, **settings)), load_prompt(prompt), prompt)


def says(text, **choice):
    """A model that always says the same."""
    return lambda request, nth: Reply(completion(request, content=text, **choice))


@pytest.fixture
def journal(tmp_path):
    opened = Journal(tmp_path / "journal")
    yield opened
    opened.close()


def kept(teacher, one):
    label = teacher.label(one)
    assert label is not None
    return label


def labelled(behave, journal, one=None, **settings):
    """The list as a server's answer labels it, None if there is none."""
    with serving(behave) as server:
        teacher = LLMTeacher(prompted_at(server, **settings), journal)
        list(teacher.ask([one or shown()]))
        return teacher.label(one or shown())


# -- what an answer makes of a list ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "expected", "faults"),
    [
        ("[3] > [1] > [4] > [2]", ("cadb", "", ""), ()),
        ("[3] > [1]", ("ca", "bd", ""), ("missing",)),  # left out: hard negatives, in the order shown
        ("[3] > [1] > [3]", ("ca", "bd", ""), ("repeated", "missing")),
        ("[3] > [9] > [1]", ("ca", "", "bd"), ("out of range", "missing")),  # may have meant another
        ("none", ("", "", "abcd"), ("no ids",)),
        ("", ("", "", "abcd"), ("no ids",)),
        ("I'm sorry, I cannot rank these.", ("", "", "abcd"), ("refused",)),
    ],
)
def test_places_by_the_rule_and_the_raw_words_are_kept(said, expected, faults, journal):
    label = labelled(says(said), journal)
    assert places(label) == expected
    assert (label.faults, label.answer) == (faults, said)
    assert (
        replace(label, listed=(), missing=(), unknown=(), faults=(), answer="", provenance=shown().provenance)
        == shown()
    )


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_what_an_answer_cut_short_leaves_out_is_unknown(reason, journal):
    label = labelled(says("[3] > [1] > [", finish_reason=reason), journal)
    assert places(label) == ("ca", "", "bd")
    assert label.faults[0] == "truncated"


@pytest.mark.parametrize("said", ["[3] > [1]", "[3] > [1]\n"])
def test_an_answer_that_looks_whole_was_cut_short_where_the_server_says_so(said, journal):
    label = labelled(says(said, finish_reason="length"), journal)
    assert (places(label), label.faults) == (("ca", "", "bd"), ("truncated", "missing"))


def test_a_number_that_the_end_may_have_torn_is_not_believed(journal):
    label = labelled(says("[3] > [1] > [2", finish_reason="length"), journal)
    assert places(label) == ("ca", "", "bd")


def test_a_refusal_in_the_field_of_its_own_is_a_refusal(journal):
    label = labelled(BEHAVIOURS["refusal"], journal)
    assert (places(label), label.faults) == (("", "", "abcd"), ("refused",))
    assert label.answer == "I cannot rank these."


def test_read_answer_needs_no_model():
    assert places(read_answer(shown(), "[2] > [4]")) == ("bd", "ac", "")
    assert places(read_answer(shown(), "[2] > [4]", finished=False)) == ("bd", "", "ac")


def test_without_an_answer_there_is_no_label_but_a_reason(journal):
    with serving(BEHAVIOURS["bad-request"]) as server:
        teacher = LLMTeacher(prompted_at(server), journal)
        [(qid, outcome)] = teacher.ask([shown()])
    assert qid == "1"
    assert isinstance(outcome, Failure)
    assert teacher.failures == {"1": outcome}
    assert teacher.label(shown()) is None
    assert len(journal) == 0


# -- what is on record -------------------------------------------------------------------------------------------------


def test_provenance_names_all_that_determined_the_answer_and_neither_host_nor_clock_nor_key(journal, monkeypatch):
    monkeypatch.setenv("SECRET", "sk-0123456789abcdef")
    with serving(answer) as server:
        teacher = LLMTeacher(prompted_at(server, api_key_env="SECRET", extra={"top_k": 1}, max_tokens=77), journal)
        list(teacher.ask([shown()]))
        label = kept(teacher, shown())
        assert server.headers[0]["authorization"] == "Bearer sk-0123456789abcdef"
    answer_id = label.provenance["answer_id"]
    assert label.provenance == {
        "teacher": "llm",
        "rule": "missing: shown, not named, and the answer ended by itself; unknown: where it broke off",
        "model": "any",
        "temperature": 0.0,
        "max_tokens": 77,
        "seed": None,
        "stop": [],
        "extra": {"top_k": 1},
        "prompt": "relevant-only",
        "prompt_sha256": load_prompt("relevant-only").sha256,
        "passage_tokens": 300,
        "context": 8192,
        "answered_by": "any",
        "answer_id": answer_id,
        "finish_reason": "stop",
        "tokens": [100, 20],
        "preranker": "bm25",
    }
    assert str(answer_id).startswith("chatcmpl-")
    on_record = journal.path.read_text() + json.dumps(dict(label.provenance))
    assert not [secret for secret in ("sk-0123", "127.0.0.1", "http") if secret in on_record]


def test_a_folder_is_named_by_its_last_part(journal, tmp_path):
    with serving() as server:
        config = LLMConfig(str(tmp_path / "models" / "Small-1B"), server.url)
        teacher = LLMTeacher(PromptedLLM(load_llm(config), load_prompt("rank-all"), "rank-all"), journal)
        list(teacher.ask([shown()]))
        label = kept(teacher, shown())
    assert str(label.provenance["model"]).startswith("Small-1B@")
    assert str(label.provenance["answered_by"]).startswith("Small-1B@")
    assert str(tmp_path) not in json.dumps(dict(label.provenance))


def test_the_answer_is_on_record_before_anything_else_happens(tmp_path, journal):
    with serving() as server:
        asked = LLMTeacher(prompted_at(server), journal).ask([shown(qid="1"), shown("dcba", qid="2")])
        next(asked)
        assert journal.path.read_bytes().count(b"\n") == 1
        del asked  # here the job dies
        journal.close()
    with serving() as server:
        teacher = LLMTeacher(prompted_at(server), Journal(journal.path))
        rest = list(teacher.ask([shown(qid="1"), shown("dcba", qid="2")]))
        assert len(rest) == len(server.requests) == 1
    assert None not in [teacher.label(shown(qid="1")), teacher.label(shown("dcba", qid="2"))]


# -- what is asked -----------------------------------------------------------------------------------------------------


def test_a_question_that_two_queries_share_is_asked_once(journal):
    twins = [shown(qid="1"), shown(qid="2"), shown(qid="3", query="why not")]
    with serving() as server:
        teacher = LLMTeacher(prompted_at(server), journal)
        outcomes = dict(teacher.ask(twins))
        assert len(server.requests) == 2
    assert sorted(outcomes) == ["1", "3"]
    one, two, other = (kept(teacher, one) for one in twins)
    assert (one.listed, one.answer) == (two.listed, two.answer)
    assert (one.query.qid, two.query.qid) == ("1", "2")
    assert other.answer != one.answer or other.provenance["answer_id"] != one.provenance["answer_id"]


def test_nothing_is_asked_twice_and_all_that_changes_the_answer_is_asked_anew(journal):
    def requests(one=None, **settings: Any) -> int:
        with serving() as server:
            teacher = LLMTeacher(prompted_at(server, **settings), journal)
            list(teacher.ask([one or shown()]))
            return len(server.requests)

    assert requests() == 1
    assert requests() == requests(in_flight=2, retries=3) == 0  # nor do the ways and means change it
    changes: list[dict[str, Any]] = [
        {"temperature": 0.7},
        {"max_tokens": 99},
        {"extra": {"top_k": 1}},
        {"prompt": "rank-all"},
    ]
    assert [requests(**change) for change in changes] == [1, 1, 1, 1]
    assert [requests(shown("abdc")), requests(shown(query="when")), requests(shown("abc"))] == [1, 1, 1]
    assert requests(shown(qid="other")) == 0


# -- reasons -----------------------------------------------------------------------------------------------------------


def reasoning(request, nth):
    """Ranks `[3] > [1]`; asked why, says a line for each passage."""
    if "Ranking:" not in request["messages"][-1]["content"]:
        return Reply(completion(request, content="[3] > [1]"))
    lines = "\n".join(f"[{place}] {'R' if place % 2 else 'Irr'}elevant: of {place}" for place in (1, 2, 3, 4))
    return Reply(completion(request, content=lines, model="small"))


def test_reasons_are_asked_for_given_the_ranking_and_kept_by_docid(journal):
    with serving(reasoning) as server:
        teacher = LLMTeacher(prompted_at(server), journal, prompted_at(server, "reasons"))
        assert [type(outcome) for _, outcome in teacher.ask([shown()])] == [Answer, Answer]
        why = server.requests[1]["messages"][-1]["content"]
        label = kept(teacher, shown())
    assert why.endswith("\nRanking: [3] > [1]\nLeft out: [2], [4]")
    assert "[1] text a\n[2] text b\n[3] text c\n[4] text d" in why
    assert places(label) == ("ca", "bd", "")
    expected = {"a": "Relevant: of 1", "b": "Irrelevant: of 2", "c": "Relevant: of 3", "d": "Irrelevant: of 4"}
    assert label.reasons == expected
    said_why = label.provenance["reasons"]
    assert isinstance(said_why, dict)
    assert (said_why["answered_by"], said_why["prompt"]) == ("small", "reasons")
    assert (label.provenance["answered_by"], label.provenance["prompt"]) == ("any", "relevant-only")


def test_a_smaller_model_may_say_why(journal):
    with serving(says("[3] > [1]")) as large, serving(says("[1] Relevant: it says so")) as small:
        teacher = LLMTeacher(prompted_at(large), journal, prompted_at(small, "reasons"))
        list(teacher.ask([shown()]))
        assert (len(large.requests), len(small.requests)) == (1, 1)
    label = kept(teacher, shown())
    assert label.reasons == {"a": "Relevant: it says so"}


def test_a_list_without_ranking_has_no_reasons_and_costs_no_second_question(journal):
    with serving(says("none")) as server:
        teacher = LLMTeacher(prompted_at(server), journal, prompted_at(server, "reasons"))
        list(teacher.ask([shown()]))
        assert len(server.requests) == 1
    label = kept(teacher, shown())
    assert (label.reasons, label.faults) == ({}, ("no ids",))


def test_without_its_reasons_a_label_waits_and_only_they_are_asked_for_again(journal):
    def sulking(request, nth):
        fault = "Ranking:" in request["messages"][-1]["content"]
        return BEHAVIOURS["bad-request"](request, nth) if fault else reasoning(request, nth)

    with serving(sulking) as server:
        teacher = LLMTeacher(prompted_at(server), journal, prompted_at(server, "reasons"))
        list(teacher.ask([shown()]))
    assert teacher.label(shown()) is None
    assert "HTTP 400" in teacher.failures["1"].reason
    with serving(reasoning) as server:
        teacher = LLMTeacher(prompted_at(server), journal, prompted_at(server, "reasons"))
        list(teacher.ask([shown()]))
        assert len(server.requests) == 1
        assert "Ranking:" in server.requests[0]["messages"][-1]["content"]
    label = kept(teacher, shown())
    assert len(label.reasons) == 4


@pytest.mark.parametrize(
    ("said", "reasons"),
    [
        ("[1] Relevant: tea\n[2] Irrelevant: cats", {"a": "Relevant: tea", "b": "Irrelevant: cats"}),
        ("\n\n[2]: it says so  \n", {"b": "it says so"}),
        ("1. one\n2) two\n3: three\n4 - four", {"a": "one", "b": "two", "c": "three", "d": "four"}),
        ("- [1] one\n* **[2]** two", {"a": "one", "b": "two"}),
        ("1. [3] three\n2. [1] one", {"c": "three", "a": "one"}),  # the id is the number in brackets
        ("[1] 3 cats in 2020", {"a": "3 cats in 2020"}),
        ("[1] first\n[1] second", {"a": "first"}),
        ("[0] zero\n[5] five\n[9999999] more", {}),  # not shown
        ("[3] > [1]\n[1] helps", {"a": "helps"}),  # the ranking said again is no reason
        ("[1], [2]\n[2] helps", {"b": "helps"}),
        ("[1]\nhelps\n[2] [3]", {}),  # an id alone
        ("<think>[1] is off</think>[1] helps", {"a": "helps"}),
        ("All of these four help.", {}),
        ("", {}),
    ],
)
def test_reasons_are_read_by_line(said, reasons):
    assert parse_reasons(said, shown()) == reasons


@pytest.mark.parametrize("endless", ["\n", ".", "[1]", "[1] ", "1. ", "1", "* ", "[", "[1] a\n", "| "])
def test_reasons_that_never_stop_are_read_at_once(endless):
    started = time.perf_counter()
    parse_reasons(endless * 32_000 + "x", shown())
    assert time.perf_counter() - started < 3
