"""rank_llm's requests: one JSONL file that brings run, topics and texts together."""

import gzip
import json
from pathlib import Path

import pytest

from rrarank.data import Hit, Run
from rrarank.errors import RrarankError
from rrarank.requests import is_requests, read_requests


def request(qid, text, *candidates):
    rows = [{"docid": docid, "score": score, "doc": doc} for docid, score, doc in candidates]
    return json.dumps({"query": {"qid": qid, "text": text}, "candidates": rows}, ensure_ascii=False)


def read(tmp_path, *lines, name="requests.jsonl"):
    content = "\n".join(lines).encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return read_requests(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "answer"),
    [("r.jsonl", True), ("r.jsonl.gz", True), ("r.trec", False), ("r.gz", False), ("r.json", False)],
)
def test_requests_are_known_by_name(name, answer):
    assert is_requests(Path("runs", name)) == answer


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz"])
def test_a_request_gives_run_topics_and_texts(tmp_path, name):
    run, topics, texts = read(
        tmp_path,
        request(2, "what is tea", ("a", 1, {"contents": "tea"}), (7, 2.5, {"title": "T", "text": "leaf"})),
        "",
        request("1", "why", ("é", "3", {"segment": "s"})),
        name=name,
    )
    assert run == Run({"2": [Hit("7", 2.5), Hit("a", 1.0)], "1": [Hit("é", 3.0)]}, "first-stage")
    assert topics == {"2": "what is tea", "1": "why"}
    assert texts == {"a": "tea", "7": "T leaf", "é": "s"}


def test_ties_fall_by_docid_as_in_a_run(tmp_path):
    run, _, _ = read(tmp_path, request("1", "q", *((docid, 1.0, {"text": "x"}) for docid in ("b", "10", "c", "9"))))
    assert [hit.docid for hit in run["1"]] == ["c", "b", "9", "10"]


def test_a_query_may_have_no_candidates(tmp_path):
    run, topics, texts = read(tmp_path, request("1", "q"))
    assert (dict(run), topics, texts) == ({"1": []}, {"1": "q"}, {})


X = {"text": "x"}
SHAPE = r'expected {"query": {"qid", "text"}, "candidates": [{"docid", "score", "doc"}]}'


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([""], ": no requests"),
        ([request("1", "q", ("a", 1, X)), '{"query"'], ":2: not JSON (Expecting ':' delimiter at column 9)"),
        (['{"candidates": []}'], f":1: KeyError 'query'; {SHAPE}"),
        (['{"query": {"qid": "1"}, "candidates": []}'], ":1: fields 'qid'; expected one of 'text'"),
        (['{"query": {"qid": "1", "text": "q"}}'], f":1: KeyError 'candidates'; {SHAPE}"),
        (['{"query": {"qid": "1", "text": "q"}, "candidates": [{"docid": "a", "score": 1}]}'], ":1: KeyError 'doc'"),
        ([request("1", "q", ("a", "high", X))], ":1: ValueError could not convert string to float: 'high'"),
        ([request("1", "q", ("a", None, X))], ":1: TypeError float() argument must be"),
        ([request("1", "q", ("a", float("nan"), X))], ":1: docid 'a' has the score nan, expected a finite number"),
        ([request("1", " ")], ":1: an empty query"),
        ([request(None, "q")], ":1: fields 'qid', 'text'; expected one of 'qid'"),
        (
            [request("1", "q", ("a", 1, X)), request("2", "q", ("a", 1, {"text": "z"}))],
            ":2: docid 'a' has another text",
        ),
        ([request("1", "q", ("a", 1, {"url": "u"}))], ":1: fields 'url'; expected one of 'text', 'segment'"),
        ([request("1", "q", ("a", 1, X), ("a", 2, X))], ":1: query '1' holds a docid twice; keep one"),
        ([request("1", "q"), "", request(1, "r")], ":3: query '1' stands twice; keep one line"),
    ],
)
def test_malformed_requests_are_refused_by_line(tmp_path, lines, message):
    with pytest.raises(RrarankError) as error:
        read(tmp_path, *lines)
    assert str(error.value).startswith(f"{tmp_path / 'requests.jsonl'}{message}")


def test_a_document_may_be_its_text(tmp_path):
    (tmp_path / "r.jsonl").write_text(request("1", "q", ("a", 1, "plain")))
    assert read_requests(tmp_path / "r.jsonl")[2] == {"a": "plain"}
