"""The server from the outside: real processes, real HTTP."""

import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from server_process import serving  # type: ignore[import-not-found]  # pytest finds it beside this file

import rrarank
from rrarank.data.types import Hit, Run
from rrarank.errors import RrarankError
from rrarank.serve.__main__ import main
from rrarank.serve.keys import read_keys
from rrarank.serve.server import bind, listen
from rrarank.sources.lucene import build_index

QUERY = "what is a cat"
KEY = "a-key-of-these-tests"
SLEEPER = Path(__file__).with_name("sleeper.py")
TEXTS = ["the dog sat", "a cat is a cat", "tea and bread", "the cat sat", "the dog sat"]
DOCUMENTS = {"query": QUERY, "documents": TEXTS}


@pytest.fixture
def sleeper(tmp_path):
    """Starts servers whose reranker obeys its texts, such as `sleep 0.5`."""

    def start(*flags, **environment):
        return serving(tmp_path, *flags, "--reranker", "sleeper", command=[SLEEPER], **environment)

    return start


@pytest.fixture(scope="session")
def server(tmp_path_factory, steady_folder):
    """A small cross-encoder behind keys."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "keys").write_text(f"another-key-of-these-tests\n{KEY}\n")
    flags = ("--reranker", "cross-encoder", "--model", steady_folder, "--threads", "1", "--device", "cpu")
    with serving(folder, *flags, "--keys", folder / "keys", "--max-documents", "50") as running:
        yield running


@pytest.fixture
def authorized():
    return {"authorization": f"Bearer {KEY}"}


def sleep(seconds, more=""):
    return {"query": "q", "documents": [f"sleep {seconds}", more]}


@pytest.fixture
def gate(tmp_path):
    return Gate(tmp_path / "gate")


@dataclass(frozen=True)
class Gate:
    """Keeps the scoring thread busy until it is opened."""

    file: Path

    def hold(self, server, pool):
        job = pool.submit(server.post, {"query": "q", "documents": [f"hold {self.file}"]})
        wait_for(Path(f"{self.file}.begun").exists)
        return job

    def open(self):
        self.file.touch()


def wait_for(holds, seconds=10.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def logged(server, text, times=1):
    """The log once it has that text: a request's line is written after its answer."""
    wait_for(lambda: server.log.read_text().count(text) >= times)
    return server.log.read_text()


# -- answers ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def expected(steady_folder):
    """place -> score, from `rerank_run`."""
    reranker = rrarank.load_reranker("cross-encoder", model=str(steady_folder), device="cpu")
    texts = {str(place): text for place, text in enumerate(TEXTS)}
    run = Run({"1": [Hit(docid, 0.0) for docid in texts]})
    reranked = rrarank.rerank_run(run, reranker, topics={"1": QUERY}, texts=texts)
    return {int(hit.docid): hit.score for hit in reranked["1"]}


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank"])
def test_scores_are_those_of_rerank_and_equal_texts_keep_their_order(server, authorized, expected, path):
    reply = server.post(DOCUMENTS, path, headers=authorized).json()
    found = {one["index"]: one["score"] for one in reply["results"]}
    assert found == pytest.approx(expected, abs=1e-5)
    assert list(found) == sorted(expected, key=lambda place: (-expected[place], place))
    for one in reply["results"]:
        assert one["relevance_score"] == pytest.approx(1 / (1 + math.exp(-one["score"])))
    assert reply["meta"]["api_version"]["version"] == path[2]
    assert reply["usage"]["total_tokens"] > len(TEXTS)


def test_documents_as_objects_top_n_and_texts_given_back(server, authorized):
    whole = server.post(DOCUMENTS, headers=authorized).json()["results"]
    body = {"query": QUERY, "documents": [{"text": text} for text in TEXTS], "top_n": 2, "return_documents": True}
    found = server.post(body | {"model": "rerank-v3.5"}, headers=authorized).json()["results"]
    assert [one["index"] for one in found] == [one["index"] for one in whole[:2]]
    assert [one["document"]["text"] for one in found] == [TEXTS[one["index"]] for one in found]
    assert "document" not in whole[0]


def test_fields_that_change_nothing_are_named_in_the_warnings(server, authorized):
    reply = server.post(DOCUMENTS | {"max_tokens_per_doc": 9, "user": "me"}, headers=authorized).json()
    assert reply["meta"]["warnings"] == ["ignored: 'max_tokens_per_doc', 'user'"]


def test_candidates_come_back_as_they_came_with_new_scores_and_ranks(server, authorized, expected):
    docs = [TEXTS[0], {"text": TEXTS[1], "url": None}, {"contents": TEXTS[2]}, {"title": "the cat", "text": "sat"}]
    docs.append(json.dumps({"contents": TEXTS[4]}))  # Pyserini's parse=false
    candidates = [{"docid": f"d{i}", "score": 9.5 - i, "rank": i + 1, "doc": doc} for i, doc in enumerate(docs)]
    body = {"api": "v1", "index": "msmarco", "query": {"text": QUERY, "qid": "007"}, "candidates": candidates}
    reply = server.post(body, headers=authorized).json()
    assert [reply["query"], reply["index"]] == [{"text": QUERY, "qid": "007"}, "msmarco"]
    assert reply["meta"]["warnings"] == []
    assert [one["rank"] for one in reply["candidates"]] == [1, 2, 3, 4, 5]
    assert {one["docid"]: one["doc"] for one in reply["candidates"]} == {f"d{i}": doc for i, doc in enumerate(docs)}
    found = {int(one["docid"][1:]): one["score"] for one in reply["candidates"]}
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_reply_is_a_run_for_convert(server, authorized, tmp_path):
    candidates = [{"docid": f"d{i}", "score": 1, "doc": {"contents": text}} for i, text in enumerate(TEXTS)]
    reply = server.post({"query": {"text": QUERY, "qid": "1"}, "candidates": candidates}, headers=authorized)
    (tmp_path / "reply.json").write_text(reply.text)
    run = rrarank.load_inputs(tmp_path / "reply.json").run
    assert [hit.docid for hit in run["1"]] == [one["docid"] for one in reply.json()["candidates"]]


def test_requests_that_wait_together_are_scored_together_with_equal_answers(server, authorized, expected):
    before = server.metric("rrarank_batch_requests_count", headers=authorized)
    with ThreadPoolExecutor(12) as pool:
        jobs = [
            pool.submit(server.post, {"query": QUERY, "documents": TEXTS[i % 5 :]}, headers=authorized)
            for i in range(48)
        ]
    for i, job in enumerate(jobs):
        found = {one["index"] + i % 5: one["score"] for one in job.result().json()["results"]}
        assert found == pytest.approx({place: expected[place] for place in range(i % 5, 5)}, abs=1e-5)
    assert server.metric("rrarank_batch_requests_count", headers=authorized) - before < 48


def test_the_reply_of_search_is_a_request_for_rerank(sleeper, tmp_path):
    texts = {"a": "the cat sat on the mat", "b": "a dog", "c": "a cat"}
    build_index(texts.items(), tmp_path / "pets")
    with sleeper("--index", tmp_path / "pets") as server:
        assert server.get("/health").json()["index"] == "pets"
        found = server.post({"query": "cats", "hits": 9}, "/v1/search").json()
        assert [one["doc"]["contents"] for one in found["candidates"]] == [texts["c"], texts["a"]]
        assert [one["docid"] for one in server.post(found).json()["candidates"]] == ["a", "c"]
        assert server.post({"query": '\0 " AND ( 😀 [', "hits": 9}, "/v1/search").json()["candidates"] == []
        assert server.post({"query": "cats", "hits": 0}, "/v1/search").status_code == 422
        assert server.stop() == 0


def test_no_documents_give_no_results(server, authorized):
    assert server.post({"query": "q", "documents": []}, headers=authorized).json()["results"] == []
    assert server.post({"query": {"text": "q"}, "candidates": []}, headers=authorized).json()["candidates"] == []


def test_the_sdk_of_cohere_asks_it(server, expected):
    cohere = pytest.importorskip("cohere")
    best = min(expected, key=lambda place: (-expected[place], place))
    for client in (cohere.Client, cohere.ClientV2):
        reply = client(api_key=KEY, base_url=server.url).rerank(model="any", query=QUERY, documents=TEXTS, top_n=3)
        assert [len(reply.results), reply.results[0].index] == [3, best]
        assert reply.id
    with pytest.raises(cohere.UnauthorizedError):
        cohere.ClientV2(api_key="wrong", base_url=server.url).rerank(model="any", query=QUERY, documents=TEXTS)


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ('{"query": "a\\ud800", "documents": []}', "not JSON"),
        ('{"query": {"text": "q"}, "candidates": [{"docid": "1", "score": NaN, "doc": ""}]}', "not JSON"),
        ("[" * 100_000, "not JSON"),
        (b"\xff\xfe", "not JSON"),
        ("[]", "the body: input should be a valid dictionary"),
        ("{}", "query: field required (and 1 more)"),
        ('{"query": "", "documents": ["x"]}', "query: string should have at least 1 character"),
        ('{"query": "q", "documents": "x"}', "documents: input should be a valid list"),
        ('{"query": "q", "documents": ["x", 3]}', "documents.1"),
        ('{"query": "q", "documents": [{"title": "x"}]}', "documents.0"),
        ('{"query": "q", "documents": ["x"], "top_n": -1}', "top_n: input should be greater than or equal to 0"),
        ('{"query": "q", "documents": ["x"], "top_n": true}', "top_n"),
        ('{"query": {"text": "q"}, "candidates": [{"docid": "1", "score": 1, "doc": {}}]}', "candidates.0.doc"),
        ('{"query": {"text": "q"}, "candidates": [{"docid": "1", "score": 1e999, "doc": ""}]}', "candidates.0.score"),
        ('{"query": {"text": "q"}, "candidates": [{"docid": 1.5, "score": 1, "doc": ""}]}', "candidates.0.docid"),
    ],
)
def test_a_malformed_body_gets_one_clear_message(server, authorized, body, said):
    headers = {**authorized, "content-type": "application/json"}
    reply = httpx.post(f"{server.url}/v2/rerank", content=body, headers=headers)
    assert reply.status_code == 422
    assert said in reply.json()["message"]
    assert reply.json()["id"] == reply.headers["x-request-id"]


def test_a_request_that_is_too_large_or_not_for_this_server_is_refused(server, authorized):
    many = server.post({"query": "q", "documents": ["x"] * 51}, headers=authorized)
    assert (many.status_code, many.json()["message"]) == (
        413,
        "51 documents, expected at most 50; send fewer, or start the server with --max-documents",
    )
    assert server.post({"query": "q", "documents": ["x" * 1_000_001]}, headers=authorized).status_code == 413
    assert server.post({"query": "q", "documents": ["x" * 8_000_000]}, headers=authorized).status_code == 413
    chunked = httpx.post(
        f"{server.url}/v1/rerank",
        content=(b"x" * 1_000_000 for _ in range(9)),
        headers={**authorized, "content-type": "application/json"},
    )
    assert chunked.status_code == 413
    form = httpx.post(f"{server.url}/v1/rerank", data={"query": "q"}, headers=authorized)
    assert form.status_code == 415
    assert server.get("/v1/rerank").status_code == 405
    assert server.get("/nowhere").json()["message"].startswith("no GET /nowhere (known: POST /v1/rerank, ")
    assert server.post({"query": "q"}, "/v1/search", headers=authorized).json()["message"] == (
        "this server has no index; start it with --index DIR"
    )


def test_a_key_is_needed_if_the_server_has_keys_and_is_never_logged(server):
    for headers in ({}, {"authorization": "Bearer wrong"}, {"x-api-key": KEY[:-1]}, {"authorization": f"Basic {KEY}"}):
        reply = server.post(DOCUMENTS, headers=headers)
        assert (reply.status_code, reply.headers["www-authenticate"]) == (401, "Bearer")
    assert server.get("/metrics").status_code == 401
    assert server.post(DOCUMENTS, headers={"x-api-key": KEY}).status_code == 200
    health = server.get("/health")
    assert health.json()["keys"] is True
    assert KEY not in logged(server, health.headers["x-request-id"])


def test_the_log_is_json_without_texts(server, authorized):
    server.post({"query": "unheard-of", "documents": ["unseen text"]}, headers=authorized)
    unknown = server.get("/v1/unheard-of?query=unseen")
    log = logged(server, unknown.headers["x-request-id"])
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert {"route": "/v1/rerank", "status": 200, "documents": 1, "characters": 21}.items() <= lines[-2].items()
    assert {"route": "none", "status": 404}.items() <= lines[-1].items()
    assert not re.search("unheard|unseen", log)


# -- the queue, time and the end --------------------------------------------------------------------------------------


def test_beyond_the_queue_is_429_and_within_it_no_error(sleeper, gate):
    with sleeper("--queue", "2") as server, ThreadPoolExecutor(8) as pool:
        held = gate.hold(server, pool)
        jobs = [pool.submit(server.post, sleep(0, str(i))) for i in range(6)]
        wait_for(lambda: sum(job.done() for job in jobs) == 4)
        gate.open()
        replies = [job.result() for job in [held, *jobs]]
    assert sorted(reply.status_code for reply in replies) == [200] * 3 + [429] * 4
    refused = next(reply for reply in replies if reply.status_code == 429)
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["message"].startswith("2 requests are waiting; try again in ")


def test_out_of_time_is_503_and_a_slow_body_408(sleeper):
    with sleeper("--timeout", "0.3") as server:
        reply = server.post(sleep(0.6))
        assert reply.status_code == 503
        assert "no answer within the time limit" in reply.json()["message"]
        with raw(server.url, 'content-length: 999\r\n\r\n{"query"') as client:
            assert client.recv(99).startswith(b"HTTP/1.1 408")


def raw(url, rest):
    """A connection with the start of a request on it."""
    host, port = url.removeprefix("http://").split(":")
    client = socket.create_connection((host, int(port)), timeout=10)
    head = f"POST /v1/rerank HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{rest}"
    client.sendall(head.encode())
    return client


def test_a_client_that_hangs_up_is_dropped_and_harms_nobody(sleeper, gate):
    with sleeper() as server, ThreadPoolExecutor(4) as pool:
        held = gate.hold(server, pool)
        body = json.dumps(sleep(60))
        clients = [raw(server.url, f"content-length: {len(body)}\r\n\r\n{body}") for _ in range(3)]
        clients.append(raw(server.url, 'content-length: 999\r\n\r\n{"query"'))
        wait_for(lambda: server.metric("rrarank_waiting") == 3)
        for client in clients:
            client.close()
        wait_for(lambda: server.metric("rrarank_waiting") == 0)
        gate.open()
        assert [held.result().status_code, server.post(sleep(0)).status_code] == [200, 200]
        assert logged(server, '"status": 499', 4).count('"status": 499') == 4


def test_a_request_that_breaks_the_reranker_fails_alone_and_its_text_is_not_logged(sleeper, gate):
    with sleeper() as server, ThreadPoolExecutor(8) as pool:
        held = gate.hold(server, pool)
        texts = ["fine", "fail now", "crash now", "nan", "too"]
        jobs = [pool.submit(server.post, {"query": "q", "documents": [text]}) for text in texts]
        wait_for(lambda: server.metric("rrarank_waiting") == 5)
        gate.open()
        replies = [job.result() for job in [held, *jobs]]
        assert [reply.status_code for reply in replies] == [200, 200, 503, 500, 503, 200]
        assert replies[2].json()["message"] == "the reranker cannot"
        assert "crash now" not in logged(server, "ValueError < score:")


@pytest.fixture
def not_under_nohup():
    """Whatever these tests run under, their servers hear SIGHUP."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("not_under_nohup")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])  # the latter when a terminal closes
def test_a_signal_to_stop_finishes_accepted_requests_and_refuses_new_ones(sleeper, gate, how):
    with sleeper() as server, ThreadPoolExecutor(4) as pool:
        held = gate.hold(server, pool)
        jobs = [pool.submit(server.post, sleep(0, str(i))) for i in range(3)]
        wait_for(lambda: server.metric("rrarank_waiting") == 3)
        server.process.send_signal(how)
        wait_for(lambda: refused(server.url))
        gate.open()
        assert [job.result().status_code for job in [held, *jobs]] == [200] * 4
        assert server.process.wait(10) == 0
        assert server.log.read_text().endswith("stopped; every accepted request is answered\n")


def test_a_signal_that_comes_as_soon_as_the_server_is_ready_stops_it(sleeper):
    for _ in range(3):
        with sleeper() as server:
            assert server.stop() == 0
            assert server.log.read_text() == "stopped; every accepted request is answered\n"


def refused(url):
    host, port = url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port))).close()
    except ConnectionRefusedError:
        return True
    return False


# -- access ---------------------------------------------------------------------------------------------------------


def test_a_page_of_another_site_is_refused_and_our_page_is_not(sleeper):
    with sleeper() as server:
        for host, status in (
            ("evil.example", 421),
            ("127.0.0.1.evil.example:80", 421),
            ("localhost:1", 200),
            ("[::1]", 200),
        ):
            assert server.get("/health", headers={"host": host}).status_code == status
        page = server.get("/")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert not re.search(r"(src|href)=[\"']?(https?:)?//|@import|\burl\(", page.text)


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (["--host", "0.0.0.0"], 2, "without API keys everyone who reaches it could ask; give --keys FILE"),
        (["--keys", "{tmp}/none"], 2, "none: No such file or directory"),
        (["--keys", "{tmp}/short"], 2, "short: key 2 has 5 characters, expected 16 at least"),
        (["--keys", "{tmp}/empty"], 2, "empty: no API key; expected one a line"),
        (["--keys", "{tmp}/good", "--no-keys"], 2, "give one of the two"),
        (["--reranker", "rra-brt"], 2, "did you mean 'rra-bert'"),
        (["--host", "nowhere.invalid", "--no-keys"], 2, "nowhere.invalid"),
        (["--host", "127.0.0.1", "--port", "{taken}"], 2, "Address already in use; give another"),
        (["--port", "0", "--reranker", "bm25", "--index", "{tmp}"], 2, "not a Lucene index"),
        (["--port", "99999"], 2, "--port 99999: input should be less than 65536"),
        (["--cors", "https://a.example/path"], 2, "--cors https://a.example/path: expected an origin such as"),
        (["--cors", "*"], 2, "--cors *: without API keys every page that a user opens could ask; name the origins"),
        (["--timeout", "soon"], 2, "--timeout soon: input should be a valid number"),
    ],
)
def test_a_server_that_cannot_start_says_why_in_one_line(tmp_path, capsys, flags, code, said):
    (tmp_path / "short").write_text("a-key-that-is-long-enough\nshort\n")
    (tmp_path / "good").write_text("a-key-that-is-long-enough\n")
    (tmp_path / "empty").write_text("\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        names = {"tmp": tmp_path, "taken": taken.getsockname()[1]}
        assert main([flag.format(**names) for flag in flags]) == code
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_when_two_servers_start_at_once_the_later_one_says_why_it_cannot():
    first = bind("127.0.0.1", 0)
    port = first.getsockname()[1]
    with first, bind("127.0.0.1", port) as second:
        listen(first)
        with pytest.raises(RrarankError, match=f"--host 127.0.0.1 --port {port}: Address already in use; give another"):
            listen(second)


def test_a_file_of_keys_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "keys").write_text(f"{KEY}\n", encoding="utf-8-sig")
    assert read_keys(str(tmp_path / "keys")).find(KEY.encode())


def test_keys_come_from_the_environment_too(sleeper):
    with sleeper("--host", "0.0.0.0", RRARANK_API_KEYS=KEY) as server:
        url = server.url.replace("0.0.0.0", "127.0.0.1")
        assert httpx.post(f"{url}/v1/rerank", json=sleep(0)).status_code == 401
        assert httpx.post(f"{url}/v1/rerank", json=sleep(0), headers={"x-api-key": KEY}).status_code == 200


def test_a_setting_of_the_environment_holds_unless_a_flag_is_given(tmp_path, sleeper, monkeypatch, capsys):
    with sleeper("--max-documents", "5", RRARANK_MAX_DOCUMENTS="4", RRARANK_QUEUE="3") as server:
        limits = server.get("/health").json()["limits"]
        assert {"documents": 5, "queue": 3}.items() <= limits.items()
    monkeypatch.setenv("RRARANK_QUEUE", "none")
    assert main([]) == 2
    assert capsys.readouterr().err.startswith("error: RRARANK_QUEUE none: input should be a valid integer")


def test_only_pages_of_named_origins_may_ask(sleeper):
    preflight = {"access-control-request-method": "POST", "access-control-request-headers": "content-type,traceparent"}
    allowed = "access-control-allow-origin"
    with sleeper("--cors", "https://a.example http://b.example:80") as server:
        for origin, answer in (("https://a.example", "https://a.example"), ("https://evil.example", None)):
            asked = server.client.options("/v1/rerank", headers={"origin": origin} | preflight)
            assert (asked.status_code, asked.headers.get(allowed)) == (200 if answer else 400, answer)
            reply = server.post(sleep(0), headers={"origin": origin})
            assert (reply.status_code, reply.headers.get(allowed)) == (200, answer)
            assert "access-control-allow-credentials" not in reply.headers
    with sleeper() as server:
        assert (
            server.client.options("/v1/rerank", headers={"origin": "https://a.example"} | preflight).status_code == 405
        )
        assert allowed not in server.post(sleep(0), headers={"origin": "https://a.example"}).headers


def test_a_request_keeps_the_id_that_its_client_gave(server):
    ident = "0123456789abcdef0123456789abcdef"
    assert server.get("/health", headers={"x-request-id": ident}).headers["x-request-id"] == ident
    assert server.get("/health", headers={"x-request-id": "no id"}).headers["x-request-id"] != "no id"


def test_without_the_extra_it_says_what_to_install_and_help_needs_none():
    names = ["fastapi", "uvicorn", "prometheus_fastapi_instrumentator", "pydantic_settings", "torch"]
    blocked = f"import sys; sys.modules.update(dict.fromkeys({names}));"
    run = f"{blocked} from rrarank.serve.__main__ import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True)
    assert done.returncode == 3
    assert "pip install 'rrarank[serve]'" in done.stderr
    assert subprocess.run([sys.executable, "-c", run, "--help"], capture_output=True).returncode == 0


# -- slow -------------------------------------------------------------------------------------------------------------


# A schema cannot say that `rank_fields` names fields of the documents, nor that two lists are of one length.
ACROSS_FIELDS = "".join(
    f"""[[operations]]
include-name = "POST {path}"
checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "422"]
"""
    for path in ("/v1/rerank", "/v2/rerank", "/rerank", "/score", "/v1/score", "/v1/events")
)


@pytest.mark.slow
def test_schemathesis_finds_nothing(server, tmp_path):
    pytest.importorskip("schemathesis")
    (tmp_path / "schemathesis.toml").write_text(ACROSS_FIELDS)
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{server.url}/openapi.json", "--seed", "1"]
    examples = os.environ.get("SCHEMATHESIS_EXAMPLES", "60")  # an operation
    command += ["--header", f"Authorization: Bearer {KEY}", "--max-examples", examples, "--no-color"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout
