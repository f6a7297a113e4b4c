"""Reasons laid over a set, through a real endpoint on the loopback."""

import json

import pytest
from openai_server import (  # type: ignore[import-not-found]  # pytest finds it beside this file's folder
    Reply,
    answer,
    completion,
    serving,
)

from rrarank.data.distillation_set import read_set, write_set
from rrarank.data.types import Candidate, LabelledRanking, Query
from rrarank.data.verdicts import ReasoningConfig, answers
from rrarank.sets.__main__ import main
from rrarank.sets.explaining import choose_documents
from rrarank.storage.sidecar import read_sidecar

SHOWN = tuple(Candidate(docid, f"text {docid}", 0.0) for docid in "abcdefgh")
LABEL = LabelledRanking(Query("1", "tea"), SHOWN, tuple("abcd"), tuple("efgh"), provenance={"teacher": "runs"})


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_set("set.jsonl", [LABEL])
    return tmp_path


def explain(server, *more):
    flags = ["--model", "m", "--base-url", server.url, "--output", "out.jsonl", "--retries", "0", *more]
    return main(["explain", "set.jsonl", *flags])


def test_relevant_ones_come_first_and_the_seed_draws_the_others():
    verdicts = {"a": True, "c": True, "e": False, "f": False, "g": False}
    few = choose_documents(LABEL, verdicts, 3, seed=1)
    assert list(few)[:2] == ["a", "c"]
    assert few == choose_documents(LABEL, verdicts, 3, seed=1)
    drawn = {tuple(choose_documents(LABEL, verdicts, 3, seed)) for seed in range(20)}
    assert len(drawn) == 3
    assert choose_documents(LABEL, verdicts, 9, seed=1) == verdicts


def test_each_reason_follows_the_verdict_that_was_asked_about(folder):
    asked = []

    def behave(request, nth):
        said = request["messages"][-1]["content"]
        asked.append(said)
        return Reply(completion(request, content=f"Reason: because of {said.partition('text ')[2][0]}.\n\nAnd more."))

    with serving(behave) as server:
        assert explain(server, "--most", "5") == 0
    [found] = read_set("out.jsonl")
    assert {docid: found.reasons[docid] for docid in "abc"} == {d: f"Relevant: because of {d}." for d in "abc"}
    drawn = set(found.reasons) - set("abc")
    assert len(drawn) == 2
    assert drawn <= set("efgh")
    assert all(found.reasons[docid] == f"Irrelevant: because of {docid}." for docid in drawn)
    assert all(
        said.endswith("Reason:") and ("Verdict: Relevant" in said) == (said.partition("text ")[2][0] in "abc")
        for said in asked
    )
    learned = answers(found, ReasoningConfig())
    assert (learned["a"].relevant, learned["a"].reason) == (True, "because of a.")
    assert read_sidecar(folder / "out.jsonl").content["teacher"] == "runs"
    assert not (folder / "out.jsonl.journal").exists()


def test_what_broke_off_is_no_reason(folder):
    with serving(lambda request, _: Reply(completion(request, content="because", finish_reason="length"))) as server:
        assert explain(server) == 0
    assert read_set("out.jsonl") == [LABEL]


def test_the_same_command_asks_only_for_what_has_no_answer(folder, capsys):
    def failing(request, nth):
        broken = "text b" in request["messages"][-1]["content"]
        return Reply(status=500) if broken else Reply(completion(request, content="so it is"))

    with serving(failing) as server:
        assert explain(server) == 7
        assert "1 documents have no answer ('1 b'" in capsys.readouterr().err
        assert "b" not in read_set("out.jsonl")[0].reasons
        assert explain(server, "--most", "3") == 2  # another job does not replace what this one has
        assert "out.jsonl: exists already" in capsys.readouterr().err
    asked = []

    def noting(request, nth):
        asked.append(json.dumps(request))
        return answer(request, nth)

    with serving(noting) as server:
        assert explain(server) == 0
    assert len(asked) == 1
    assert "text b" in asked[0]
    assert set(read_set("out.jsonl")[0].reasons) == set("abcefgh")


def test_answers_need_a_file_beside_which_they_are_kept(capsys):
    with serving() as server:
        assert main(["explain", "set.jsonl", "--model", "m", "--base-url", server.url, "--output", "-"]) == 2
    assert "give --output FILE" in capsys.readouterr().err
