"""Neighbours' files: what rank_llm, Pyserini and ranx write we read, what we write they read, and nothing is lost."""

import csv
import gzip
import json
import random

import numpy as np
import pytest

from rrarank.data.beir import in_folder, write_beir
from rrarank.data.run_files import CARRYING, SUFFIXES, RunFile, read_run_file, suffix_of, write_qrels, write_run_file
from rrarank.data.trec import read_run, write_run
from rrarank.data.types import Hit, Run
from rrarank.errors import RrarankError
from rrarank.sources.collection import Collection
from rrarank.sources.texts import load_qrels, load_topics


def request(qid, text, *candidates, **more):
    rows = [{"docid": docid, "score": score, "doc": doc} for docid, score, doc in candidates]
    return json.dumps({"query": {"qid": qid, "text": text}, "candidates": rows, **more}, ensure_ascii=False)


@pytest.fixture
def read(tmp_path):
    def write_and_read(content, name):
        content = content if isinstance(content, bytes) else content.encode()
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return read_run_file(tmp_path / name)

    return write_and_read


@pytest.fixture
def refusal(read, tmp_path):
    def message(content, name):
        with pytest.raises(RrarankError) as error:
            read(content, name)
        assert "\n" not in str(error.value)
        return str(error.value).removeprefix(str(tmp_path / name))

    return message


# -- rank_llm's requests and results ----------------------------------------------------------------------------------


def lines(*requests):
    return "\n".join(requests)


@pytest.mark.parametrize("name", ["requests.jsonl", "requests.jsonl.gz", "requests.json", "requests.json.gz"])
def test_requests_give_run_topics_and_texts(read, name):
    requests = [
        request(2, "what is tea", ("a", 1, {"contents": "tea"}), (7, 2.5, {"title": "T", "text": "leaf"})),
        request("1", "why", ("é", "3", {"segment": "s"}), ("7", 2, "T leaf")),
    ]
    text = "\n\n".join(requests) if "jsonl" in name else f"[{','.join(requests)}]"
    found = read(text, name)
    assert found.run == Run({"2": [Hit("7", 2.5), Hit("a", 1.0)], "1": [Hit("é", 3.0), Hit("7", 2.0)]}, "requests")
    assert list(found.run) == ["2", "1"]
    assert found.topics == {"2": "what is tea", "1": "why"}
    assert found.texts == {"a": "tea", "7": "T leaf", "é": "s"}


X = {"text": "x"}


def test_the_history_of_results_is_passed_over(read):
    invocation = {"prompt": "p", "response": "[1]", "input_token_count": 1, "output_token_count": 1}
    found = read(request("1", "q", ("a", 1, X), invocations_history=[invocation]), "r.jsonl")
    assert (dict(found.run), found.topics) == ({"1": [Hit("a", 1.0)]}, {"1": "q"})


def order(found, qid="1"):
    return [hit.docid for hit in found.run[qid]]


def test_where_no_score_rises_the_order_of_the_file_is_the_ranking(read, tmp_path):
    """rank_llm's results re-use the scores of the first stage, sorted, ties and all."""
    ranked = [("b", 9.0, X), ("10", 5.0, X), ("c", 5.0, X), ("9", 5.0, X), ("a", -1, X)]
    found = read(request("1", "q", *ranked), "results.jsonl")
    assert order(found) == ["b", "10", "c", "9", "a"]
    write_run(tmp_path / "results.trec", found.run)
    assert [hit.docid for hit in read_run(tmp_path / "results.trec")["1"]] == ["b", "10", "c", "9", "a"]


def test_where_a_score_rises_the_order_is_trec_evals(read):
    rising = [("b", 1, X), ("9", 1, X), ("c", 1, X), ("a", 2, X)]
    assert order(read(request("1", "q", *rising), "r.jsonl")) == ["a", "c", "b", "9"]


def test_a_query_may_have_no_candidates(read):
    found = read(lines(request("1", "q"), request("2", "r", ("a", 1, X))), "r.jsonl")
    assert (dict(found.run), found.topics) == ({"1": [], "2": [Hit("a", 1.0)]}, {"1": "q", "2": "r"})


SHAPE = '{"query": {"qid", "text"}, "candidates": [{"docid", "score", "doc"}]}'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", f": no requests; expected {SHAPE}"),
        ("\n \n", ": no requests"),
        ("[1]", ":1: a JSON list, expected an object"),
        (lines(request("1", "q", ("a", 1, X)), '{"query"'), ":2: not JSON (Expecting ':' delimiter at column 9)"),
        ('{"candidates": []}', f":1: KeyError 'query'; expected {SHAPE}"),
        ('{"query": {"qid": "1"}, "candidates": []}', ":1: fields 'qid'; expected one of 'text'"),
        ('{"query": "q", "candidates": []}', ":1: AttributeError 'str' object has no attribute 'get'; expected {"),
        ('{"query": {"qid": "1", "text": "q"}}', f":1: KeyError 'candidates'; expected {SHAPE}"),
        ('{"query": {"qid": "1", "text": "q"}, "candidates": 5}', ":1: TypeError 'int' object is not iterable"),
        ('{"query": {"qid": "1", "text": "q"}, "candidates": ["a"]}', ":1: AttributeError 'str' object has no"),
        ('{"query": {"qid": "1", "text": "q"}, "candidates": [{"docid": "a", "score": 1}]}', ":1: KeyError 'doc'"),
        (request("1", "q", ("a", "high", X)), ":1: ValueError could not convert string to float: 'high'"),
        (request("1", "q", ("a", None, X)), ":1: TypeError float() argument must be"),
        (request("1", "q", ("a", True, X)), ":1: docid 'a' has the score True, expected a finite number"),
        (request("1", "q", ("a", float("nan"), X)), ":1: docid 'a' has the score nan, expected a finite number"),
        (request("1", "q", ("a", float("inf"), X)), ":1: docid 'a' has the score inf, expected a finite number"),
        (request("1", "q", ("a", 1e39, X)), ":1: docid 'a' has the score 1e+39, expected a finite number"),
        (request("1", "q", ("a", 10**400, X)), ":1: OverflowError int too large"),
        (request("1", " "), ":1: an empty query"),
        (request(None, "q"), ":1: fields 'qid', 'text'; expected one of 'qid'"),
        (request(1.5, "q"), ":1: field 'qid' is a float, expected a string"),
        (request("1", "q", (True, 1, X)), ":1: field 'docid' is a bool, expected a string"),
        (request("1", "q", ("a b", 1, X)), ":1: an id that is empty or contains a space, which a run cannot hold"),
        (request("", "q", ("a", 1, X)), ":1: an id that is empty or contains a space"),
        (request("1", "q", ("a", 1, {"url": "u"})), ":1, docid 'a': fields 'url'; expected one of 'text', 'segment'"),
        (
            request("1", "q", ("a", 1, None)),
            ":1, docid 'a': the document is a NoneType, expected an object or its text",
        ),
        (request("1", "q", ("a", 1, X), ("a", 2, X)), ":1: query '1' holds a docid twice; keep one"),
        (lines(request("1", "q"), "", request(1, "r")), ":3: query '1' occurs twice; keep one"),
        (
            lines(request("1", "q", ("a", 1, X)), request("2", "q", ("a", 1, {"text": "z"}))),
            ":2: docid 'a' has another text than in an earlier request",
        ),
    ],
)
def test_malformed_requests_are_refused_by_line(refusal, content, message):
    assert refusal(content, "r.jsonl").startswith(message)


# -- Pyserini's candidates --------------------------------------------------------------------------------------------


def reply(*candidates, **query):
    rows = [
        {"docid": docid, "score": score, "rank": rank, "doc": doc}
        for rank, (docid, score, doc) in enumerate(candidates, 1)
    ]
    return json.dumps({"api": "v1", "index": "msmarco", "query": query, "candidates": rows})


def test_a_reply_of_the_rest_server_is_a_run_of_one_query(read):
    found = read(reply(("a", 2.5, "tea"), (7, 1, {"title": "T", "text": "leaf"}), text="what is tea"), "reply.json")
    assert found.run == Run({"1": [Hit("a", 2.5), Hit("7", 1.0)]}, "reply")
    assert (found.topics, found.texts) == ({"1": "what is tea"}, {"a": "tea", "7": "T leaf"})


def test_replies_that_name_no_query_are_numbered_by_their_place(read):
    replies = [reply(("a", 1, "x"), text="q"), reply(("b", 1, "y"), text="r", qid="x7"), reply(text="s", qid="")]
    assert read(f"[{','.join(replies)}]", "r.json").topics == {"1": "q", "x7": "r", "3": "s"}


def test_pyserini_1_calls_the_texts_otherwise(read):
    candidate = {"docid": "a", "score": 1.5, "document_txt": "tea", "document_img_path": None, "encoded_img": None}
    found = read(json.dumps({"query": {"qid": "", "query_txt": "q"}, "candidates": [candidate]}), "r.json")
    assert (dict(found.run), found.topics, found.texts) == ({"1": [Hit("a", 1.5)]}, {"1": "q"}, {"a": "tea"})


@pytest.mark.parametrize(
    ("doc", "text"),
    [
        ('{\n  "id": "a", "contents": "tea"\n}', "tea"),
        ('{"title": "T", "body": "tea"}', "T tea"),
        ('{"title": "T", "body": "cut of', '{"title": "T", "body": "cut of'),
        ('{"url": "u"}', '{"url": "u"}'),
        ("{}", "{}"),
    ],
)
def test_a_document_may_be_the_stored_json_as_a_string(read, doc, text):
    assert read(reply(("a", 1, doc), text="q"), "r.json").texts == {"a": text}


# -- ranx JSON --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bm25.json", "bm25.json.gz"])
def test_ranx_json_is_a_run_whose_ties_fall_as_in_trec_eval(read, name):
    found = read('{"2": {"b": 1.5, "c": 1.5, "a": 70}, "1": {"a": -1}, "0": {}}', name)
    hits = {"2": [Hit("a", 70.0), Hit("c", 1.5), Hit("b", 1.5)], "1": [Hit("a", -1.0)], "0": []}
    assert found == RunFile(Run(hits, "bm25"))
    assert list(found.run) == ["2", "1", "0"]


def test_queries_that_bear_the_names_of_a_replys_parts(read):
    assert list(read('{"query": {"a": 1.5}, "candidates": {"a": 2.5}}', "r.json").run) == ["query", "candidates"]


RANX = "expected {qid: {docid: score}}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", ": empty, expected JSON"),
        ("{}", f": an empty JSON object, {RANX}"),
        ("[]", f": no requests; expected {SHAPE}"),
        ("[[]]", f": request 1: a JSON list, expected {SHAPE}"),
        ("5", f": a JSON number, {RANX}"),
        ("null", f": a JSON null, {RANX}"),
        ('"run"', f": a JSON string, {RANX}"),
        ('{"1": {"a": 1.5}', ":1: not JSON (Expecting ',' delimiter at column 17)"),
        ('{"1": {"a": 1.5}}\n{"2": {"a": 1.5}}', ":2: not JSON (Extra data at column 1); JSON lines belong in a file"),
        ("[" * 100_000, ": JSON that Python cannot hold"),
        ('{"1": ["a"]}', f": query '1' holds a JSON list, {RANX}"),
        ('{"1": 2.5}', f": query '1' holds a JSON number, {RANX}"),
        ('{"1": {"a": "2.5"}}', ": query '1', docid 'a': score '2.5', expected a number that is finite as float32"),
        ('{"1": {"a": true}}', ": query '1', docid 'a': score True, expected a number"),
        ('{"1": {"a": null}}', ": query '1', docid 'a': score None, expected a number"),
        ('{"1": {"a": NaN}}', ": query '1', docid 'a': score nan, expected a number that is finite"),
        ('{"1": {"a": -Infinity}}', ": query '1', docid 'a': score -inf, expected"),
        ('{"1": {"a": 1e39}}', ": query '1', docid 'a': score 1e+39, expected"),
        ('{"1": {"a b": 1.5}}', ": the id 'a b' is empty or contains a space, which a run cannot hold"),
        ('{"": {"a": 1.5}}', ": the id '' is empty or contains a space"),
        ('{"1": {"a": 1.5, "b": 1.0, "a": 2.5}}', ": 'a' occurs twice in one JSON object; keep one"),
        ('{"1": {"a": 1.5}, "1": {"b": 1.5}}', ": '1' occurs twice in one JSON object; keep one"),
        ('{"1": {"\\ud83d": 1.5}}', ": half of a surrogate pair"),
        ('{"1": {"a": 1, "b": 0}, "2": {"a": 3}}', ": grades, not scores: all are small whole numbers"),
        ('{"format": "rrarank.sidecar/1", "output": {}}', ": the sidecar of "),
        ('{"format": "rrarank.sidecar/9"}', ": the sidecar of "),
        (b"\xff", ":1: not UTF-8 (byte 0xff)"),
    ],
)
def test_malformed_json_is_refused_by_place(refusal, content, message):
    assert refusal(content, "r.json").startswith(message)


def test_a_sidecar_given_as_a_run_names_what_it_describes(refusal, tmp_path):
    run = tmp_path / "bm25.trec"
    message = f": the sidecar of {run}; give {run} itself"
    assert refusal('{"format": "rrarank.sidecar/1"}', "bm25.trec.json") == message


@pytest.mark.parametrize("name", ["r.json.gz", "r.jsonl.gz"])
def test_a_gzip_stream_that_breaks_off_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(gzip.compress(request("1", "q", ("a", 1, X)).encode())[:-10])
    with pytest.raises(RrarankError, match=r"the gzip stream breaks off after line \d; copy the file again"):
        read_run_file(tmp_path / name)


# -- any run ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("r.jsonl", ".jsonl"),
        ("r.jsonl.gz", ".jsonl"),
        ("r.json", ".json"),
        ("r.json.gz", ".json"),
        *((name, "") for name in ("r.trec", "r.gz", "r", "-", "a.json/r.txt")),
    ],
)
def test_a_format_is_known_by_the_files_name(name, suffix):
    assert suffix_of(name) == suffix


def test_trec_and_ms_marco_runs_are_read_as_ever(read):
    assert read("1 Q0 a 1 2.5 bm25\n", "run.trec") == RunFile(Run({"1": [Hit("a", 2.5)]}, "bm25"))
    assert read("1\ta\t2\n", "my run: the first one.tsv.gz") == RunFile(
        Run({"1": [Hit("a", 0.5)]}, "my-run--the-first-on")
    )


RNG = random.Random(7)
DOCIDS = ["007", "7", "NA", "null", "é", "a\u00a0b", '"q"', "고양이", "x\u2028y", "1e3", "True"]
SCORES = {
    "falling": sorted((RNG.gauss(0, 9) for _ in DOCIDS), reverse=True),
    "tied": [1.0] * len(DOCIDS),
    "below float32": [1 - place * 1e-12 for place in range(len(DOCIDS))],
    "huge": [3e38 - place * 1e37 for place in range(len(DOCIDS))],
    "tiny": [1e-44 - place * 1e-45 for place in range(len(DOCIDS))],
}
TEXT = 'a "text" with\ttabs,\nlines, \u2028 and 고양이 \U0001f600'


def ours(scores):
    run = Run({"q2": list(map(Hit, DOCIDS, scores)), "10": [Hit("a", -0.5)], "é": [Hit("b", 1e30)]}, "bm25")
    texts = {hit.docid: f"{TEXT} {hit.docid}" for hits in run.values() for hit in hits}
    return RunFile(run, {"q2": "what is", "10": "why 'so'", "é": "고양이?"}, texts)


def float32(hits):
    return [np.float32(hit.score) for hit in hits]


@pytest.mark.parametrize("scores", SCORES.values(), ids=SCORES)
@pytest.mark.parametrize("to", SUFFIXES)
def test_there_and_back_again(to, scores, tmp_path):
    """The order, and each score as a written run holds it, come back; so do queries and texts, where carried."""
    content = ours(scores)
    write_run(tmp_path / "ours.trec", content.run)
    write_run_file(tmp_path / f"theirs{SUFFIXES[to]}", content, to)
    back = read_run_file(tmp_path / f"theirs{SUFFIXES[to]}")
    as_written = read_run(tmp_path / "ours.trec")
    assert {qid: [hit.docid for hit in hits] for qid, hits in back.run.items()} == {
        qid: [hit.docid for hit in hits] for qid, hits in content.run.items()
    }
    assert {qid: float32(hits) for qid, hits in back.run.items()} == {
        qid: float32(hits) for qid, hits in as_written.items()
    }
    assert (back.topics, back.texts) == ((content.topics, content.texts) if to in CARRYING else ({}, {}))
    if scores is SCORES["falling"]:
        assert float32(back.run["q2"]) == [np.float32(score) for score in scores]


def test_a_query_without_hits_survives_where_the_format_can_hold_it(tmp_path):
    content = RunFile(Run({"1": [], "2": [Hit("a", 1.0)]}, "t"), {"1": "q", "2": "r"}, {"a": "x"})
    for to, suffix in SUFFIXES.items():
        write_run_file(tmp_path / f"r{suffix}", content, to)
        assert list(read_run_file(tmp_path / f"r{suffix}").run) == (["1", "2"] if to in CARRYING else ["2"])


@pytest.mark.parametrize("to", SUFFIXES)
def test_what_no_run_can_hold_is_never_written(to, tmp_path):
    for hits in ([Hit("a", 1.0), Hit("a", 2.0)], [Hit("a b", 1.0)], [Hit("a", float("nan"))]):
        content = RunFile(Run({"1": hits}, "t"), {"1": "q"}, {"a": "x", "a b": "x"})
        with pytest.raises(RrarankError):
            write_run_file(tmp_path / "out", content, to)
    assert list(tmp_path.iterdir()) == []


# -- read by the neighbour itself -------------------------------------------------------------------------------------


@pytest.mark.parametrize("scores", SCORES.values(), ids=SCORES)
def test_ranx_reads_the_order_that_was_meant(scores, tmp_path):
    import ranx

    write_run_file(tmp_path / "run.json", ours(scores), "ranx")
    found = ranx.Run.from_file(str(tmp_path / "run.json")).to_dict()
    assert {qid: list(hits) for qid, hits in found.items()} == {"q2": DOCIDS, "10": ["a"], "é": ["b"]}
    if scores is SCORES["falling"]:
        assert [np.float32(score) for score in found["q2"].values()] == [np.float32(score) for score in scores]


def test_what_ranx_saves_we_read(tmp_path):
    import ranx

    run = {"1": {"a": 0.5, "bb12": 70.0}, "2": {"c": -1.0}}  # ids of one width in all tests: ranx compiles for each
    ranx.Qrels(QRELS).save(str(tmp_path / "qrels.json"), kind="json")
    ranx.Run(run).save(str(tmp_path / "run.json"), kind="json")
    assert load_qrels(tmp_path / "qrels.json") == QRELS
    found = read_run_file(tmp_path / "run.json").run
    assert dict(found) == {"1": [Hit("bb12", 70.0), Hit("a", 0.5)], "2": [Hit("c", -1.0)]}


@pytest.mark.parametrize("to", CARRYING)
def test_carried_candidates_have_the_shape_that_rank_llm_takes(to, tmp_path):
    """rank_llm's data classes, type-checked: text a str, qid and docid str or int, score a number, doc a dict."""
    write_run_file(tmp_path / "r", ours(SCORES["falling"]), to)
    text = (tmp_path / "r").read_text(encoding="utf-8")
    requests = json.loads(text) if to == "candidates" else [json.loads(line) for line in text.split("\n") if line]
    assert [found["query"]["qid"] for found in requests] == ["q2", "10", "é"]
    for found in requests:
        assert {type(value) for value in found["query"].values()} == {str}
        for rank, candidate in enumerate(found["candidates"], start=1):
            assert list(candidate) == ["docid", "score", *(["rank"] if to == "candidates" else []), "doc"]
            assert (type(candidate["docid"]), type(candidate["score"])) == (str, float)
            assert candidate["doc"] == {"contents": f"{TEXT} {candidate['docid']}"}
            assert candidate.get("rank", rank) == rank
        assert found.get("invocations_history") == ([] if to == "results" else None)


def test_one_query_makes_one_reply_and_several_a_list(tmp_path):
    content = RunFile(Run({"1": [Hit("a", 1.5)]}), {"1": "q"}, {"a": "x"})
    write_run_file(tmp_path / "one.json", content, "candidates")
    assert json.loads((tmp_path / "one.json").read_text()) == {
        "api": "v1",
        "index": "",
        "query": {"text": "q", "qid": "1"},
        "candidates": [{"docid": "a", "score": 1.5, "rank": 1, "doc": {"contents": "x"}}],
    }
    write_run_file(tmp_path / "two.json", ours(SCORES["tied"]), "candidates")
    assert [len(found["candidates"]) for found in json.loads((tmp_path / "two.json").read_text())] == [11, 1, 1]


# -- judgments --------------------------------------------------------------------------------------------------------

QRELS = {"1": {"a": 2, "é": 0}, "고": {"0007": -1}}


@pytest.mark.parametrize("name", ["q.json", "q.tsv", "q.txt", "q"])
def test_judgments_there_and_back_again(name, tmp_path):
    write_qrels(tmp_path / name, QRELS)
    assert load_qrels(tmp_path / name) == QRELS
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
    assert load_qrels(tmp_path / f"{name}.gz") == QRELS


def test_ranx_reads_our_judgments(tmp_path):
    import ranx

    for name, kind in (("q.json", "json"), ("q.txt", "trec")):
        write_qrels(tmp_path / name, QRELS)
        assert ranx.Qrels.from_file(str(tmp_path / name), kind=kind).to_dict() == QRELS


@pytest.mark.parametrize("docid", ["a b", "", '"a"'])
def test_ids_that_columns_cannot_hold_are_never_written(docid, tmp_path):
    for name in ("q.tsv", "q.txt"):
        with pytest.raises(RrarankError, match="is empty, contains a space or begins with a quote; rename it"):
            write_qrels(tmp_path / name, {"1": {"a": 1, docid: 1}})
    assert list(tmp_path.iterdir()) == []


def test_beirs_judgments_are_known_by_their_header(tmp_path):
    (tmp_path / "q").write_text("query-id\tcorpus-id\tscore\r\n1\ta\t2\r\n\n1\té\t0\n고\t0007\t-1")
    assert load_qrels(tmp_path / "q") == QRELS


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("query-id\tcorpus-id\tscore\n", "q.tsv", ": no judgments; expected lines of 4 columns (qid 0 docid grade)"),
        ("query-id\tcorpus-id\tscore\n1\t0\ta\t1\n", "q.tsv", ":2: 4 columns, expected 3 (query-id corpus-id score)"),
        ("query-id\tcorpus-id\tscore\n1\ta\t0.5\n", "q.tsv", ":2: grade '0.5', expected a whole number"),
        ("query-id\tcorpus-id\tscore\n1\ta\t1\n1\ta\t1\n", "q.tsv", ":3: docid 'a' is judged twice for query '1'"),
        ("1\ta\t1\n", "q.tsv", ":1: 3 columns, expected 4 (qid 0 docid grade)"),
        ("{}", "q.json", ": an empty JSON object, expected {qid: {docid: grade}}"),
        ('{"1": {}}', "q.json", ": no judgments; expected {qid: {docid: grade}}"),
        ('{"1": {"a": 1', "q.json", ":1: not JSON (Expecting ',' delimiter at column 14)"),
        (
            '{"1": {"a": 1.5}}',
            "q.json",
            ": query '1', docid 'a': grade 1.5, expected a whole number from -999,999 to 999,999; this looks like a",
        ),
        ('{"1": {"a": "1"}}', "q.json", ": query '1', docid 'a': grade '1', expected a whole number"),
        ('{"1": {"a": true}}', "q.json", ": query '1', docid 'a': grade True, expected a whole number"),
        ('{"1": {"a": 1000000}}', "q.json", ": query '1', docid 'a': grade 1000000, expected a whole number"),
        ('{"1": {"a": NaN}}', "q.json", ": query '1', docid 'a': grade nan, expected a whole number"),
        ('{"1": {"a": 1, "a": 0}}', "q.json", ": 'a' occurs twice in one JSON object; keep one"),
        ('{"1": {"a b": 1}}', "q.json", ": the id 'a b' is empty or contains a space"),
        ('{"1": 1}', "q.json", ": query '1' holds a JSON number, expected {qid: {docid: grade}}"),
        (f"[{request('1', 'q')}]", "q.json", ": a JSON list, expected {qid: {docid: grade}}"),
        (request("1", "q"), "q.json", ": query 'candidates' holds an empty JSON list, expected {qid: {docid: grade}}"),
        ('{"format": "rrarank.sidecar/1"}', "q.json", ": the sidecar of "),
    ],
)
def test_malformed_judgments_are_refused_by_place(content, name, message, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(RrarankError) as error:
        load_qrels(tmp_path / name)
    assert str(error.value).startswith(f"{tmp_path / name}{message}")


# -- BEIR folders -----------------------------------------------------------------------------------------------------


def test_a_beir_folder_is_what_beirs_loader_expects_and_we_read(tmp_path):
    """Its GenericDataLoader: rows with _id, title, text; with _id, text; and three columns by csv below a header."""
    folder = tmp_path / "new" / "beir"
    write_beir(folder, [("a", TEXT), ("é", "")], {"1": "q", "고": TEXT, "9": "r"}, QRELS)
    corpus, queries = (
        [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").split("\n") if line]
        for name in ("corpus.jsonl", "queries.jsonl")
    )
    with open(folder / "qrels" / "test.tsv", encoding="utf-8") as file:
        header, *rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_MINIMAL)
    assert corpus == [{"_id": "a", "title": "", "text": TEXT}, {"_id": "é", "title": "", "text": ""}]
    assert queries == [{"_id": "1", "text": "q"}, {"_id": "고", "text": TEXT}, {"_id": "9", "text": "r"}]
    assert header == ["query-id", "corpus-id", "score"]
    assert [(qid, docid, int(grade)) for qid, docid, grade in rows] == [
        ("1", "a", 2),
        ("1", "é", 0),
        ("고", "0007", -1),
    ]

    assert list(Collection(folder / "corpus.jsonl")) == [("a", TEXT), ("é", "")]
    assert load_topics(folder / "queries.jsonl") == {"1": "q", "고": TEXT, "9": "r"}
    assert load_qrels(folder / "qrels" / "test.tsv") == QRELS
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["beir"]


@pytest.mark.parametrize(
    ("collection", "qrels", "message"),
    [
        ([("a", "x"), ("a", "y")], {"1": {"a": 1}}, "docid 'a' occurs twice in the collection; keep one"),
        ([("a", "x")], {"1": {"a": 1}, "2": {"a": 1}}, r"1 judged queries have no topic \('2'\)"),
    ],
)
def test_a_beir_folder_appears_whole_or_not_at_all(collection, qrels, message, tmp_path):
    with pytest.raises(RrarankError, match=message):
        write_beir(tmp_path / "beir", collection, {"1": "q"}, qrels)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_never_replaced(tmp_path):
    write_beir(tmp_path / "beir", [("a", "x")], {"1": "q"}, {"1": {"a": 1}})
    with pytest.raises(RrarankError, match="exists already, and a folder is never replaced"):
        write_beir(tmp_path / "beir", [("b", "x")], {"1": "q"}, {"1": {"b": 1}}, "dev")
    assert list(Collection(tmp_path / "beir" / "corpus.jsonl")) == [("a", "x")]


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (["test.tsv", "dev.tsv"], "test.tsv"),
        (["test.tsv.gz", ".hidden"], "test.tsv.gz"),
        (["dev.tsv"], "dev.tsv"),
        (
            ["dev.tsv", "train.tsv"],
            r"several files of judgments \('qrels/dev.tsv', 'qrels/train.tsv'\); give one of them",
        ),
        ([], "no judgments in it, expected qrels/test.tsv as a BEIR folder has"),
    ],
)
def test_the_judgments_of_a_folder_are_those_of_its_test_split_or_its_only_ones(files, found, tmp_path):
    (tmp_path / "qrels").mkdir()
    for name in files:
        (tmp_path / "qrels" / name).touch()
    if found in files:
        assert in_folder(tmp_path, "qrels") == tmp_path / "qrels" / found
    else:
        with pytest.raises(RrarankError, match=found):
            in_folder(tmp_path, "qrels")


def test_other_names_stay_as_they_are(tmp_path):
    (tmp_path / "file").touch()
    for name in ("", "dl19-passage", str(tmp_path), str(tmp_path / "file"), str(tmp_path / "none")):
        assert in_folder(name, "qrels") == name
