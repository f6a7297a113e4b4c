"""Requests that ask for too much, and clients that mean harm: the server refuses them and serves the others."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil
import pytest
from server_process import serving  # type: ignore[import-not-found]  # pytest finds it beside this file
from sleeper import SleepyPairs  # type: ignore[import-not-found]  # and this one too

from rrarank.engine.reranker import RerankerConfig
from rrarank.serve.queue import Full, Worker
from rrarank.serve.scoring import Asked
from rrarank.serve.watch import OTHERS_PER_SECOND, Throttle

SLEEPER = Path(__file__).with_name("sleeper.py")
SMALL = {"query": "q", "documents": ["one two", "three"]}
MANY = 2_600_000


@pytest.fixture
def start(tmp_path):
    """Starts servers whose reranker takes 20 ms a pair."""

    def start(*flags, **environment):
        return serving(tmp_path, *flags, "--reranker", "sleepy-pairs", command=[SLEEPER], **environment)

    return start


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("limits"), "--reranker", "sleepy-pairs", command=[SLEEPER]) as server:
        yield server


def connect(server, start=""):
    """A connection with the start of a request on it."""
    host, port = server.url.removeprefix("http://").split(":")
    client = socket.create_connection((host, int(port)), timeout=20)
    client.sendall(start.encode())
    return client


def head(length, path="/v1/rerank"):
    return (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    )


def post_raw(server, body):
    return server.client.post("/v1/rerank", content=body, headers={"content-type": "application/json"})


# -- paths and fields -------------------------------------------------------------------------------------------------


def test_a_wrong_path_or_method_is_answered_with_the_paths_there_are(server):
    missing = server.post(SMALL, "/v1/rerankk")
    assert missing.status_code == 404
    assert missing.json()["message"].startswith(
        "no POST /v1/rerankk; did you mean '/v1/rerank'? (known: POST /v1/rerank, POST /v2/rerank, "
    )
    wrong = server.get("/v1/rerank")
    assert wrong.status_code == 405
    assert "no GET /v1/rerank" in wrong.json()["message"]
    assert "POST /v1/rerank" in wrong.json()["message"]
    assert server.post(SMALL, "/").json()["message"].startswith("no POST / (known: POST /v1/rerank, ")


def test_rank_fields_choose_what_is_scored(server):
    documents = [{"title": "one", "body": "one two three"}, {"title": "one two", "body": "one"}]
    reply = server.post({"query": "q", "documents": documents, "rank_fields": ["title"], "return_documents": True})
    results = reply.json()["results"]
    assert [(one["index"], one["score"]) for one in results] == [(1, 2.0), (0, 1.0)]
    assert results[0]["document"] == documents[1]
    both = server.post({"query": "q", "documents": documents, "rank_fields": ["title", "body"]}).json()["results"]
    assert [(one["index"], one["score"]) for one in both] == [(0, 4.0), (1, 3.0)]
    whole = server.post({"query": "q", "documents": documents}).json()["results"]
    assert [one["score"] for one in whole] == [4.0, 3.0]


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        (["text"], "rank_fields: documents.0 is a string without fields; send objects or leave it out"),
        ([{"text": "x"}], "rank_fields: documents.0 has none of 'title'; it has 'text'"),
        ([{"title": "x"}, {"text": "x"}], "rank_fields: documents.1 has none of 'title'; it has 'text'"),
    ],
)
def test_rank_fields_that_would_be_ignored_are_refused(server, documents, said):
    reply = server.post({"query": "q", "documents": documents, "rank_fields": ["title"]})
    assert (reply.status_code, reply.json()["message"]) == (422, said)


def test_rank_fields_of_candidates_are_refused(server):
    candidates = [{"docid": "1", "score": 1, "doc": {"text": "x"}}]
    reply = server.post({"query": {"text": "q"}, "candidates": candidates, "rank_fields": ["text"]})
    assert reply.status_code == 422
    assert reply.json()["message"].startswith("rank_fields: candidates are scored whole")


# -- keys -------------------------------------------------------------------------------------------------------------


def test_no_guess_of_a_key_is_taken_and_the_key_is_not_logged(start):
    key = "0123456789abcdef"
    near = [key[:-1], key[1:], f"{key}0", key.upper(), f"{key},{key}", f"{key} {key}", "*", "null", "x" * 4_000]
    offers = [("x-api-key", guess) for guess in ["", *near, *(f"{number:016x}" for number in range(200))]]
    offers += [("authorization", f"Bearer {guess}") for guess in near]
    offers += [("authorization", value) for value in (key, f"Basic {key}", f"Token {key}", f"Bearer\t{key}x")]
    with start(RRARANK_API_KEYS=key) as server:
        for name, value in offers:
            assert server.post(SMALL, headers={name: value}).status_code == 401, (name, value)
        assert server.get("/v1/models", params={"api_key": key}).status_code == 401  # not from the URL, which is logged
        assert server.post(SMALL, headers={"x-api-key": key}).status_code == 200
        assert key not in server.log.read_text()


# -- bodies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b'{"query":"q","documents":[' + b"{}," * MANY + b"{}]}",
        b'{"query":{"text":"q"},"candidates":[' + b"{}," * MANY + b"{}]}",
        b'{"query":"q","documents":[' + b"1," * 3_900_000 + b"1]}",
        b'{"query":"q","documents":[' + b'"",' * MANY + b'""]}',
        b'{"query":"q","documents":["x"],"more":{' + b'"a":[],' * 1_000_000 + b'"a":[]}}',
        b'"' * 7_900_000,
    ],
    ids=["objects", "candidates", "numbers", "strings", "an unknown field", "quotes"],
)
def test_a_body_of_millions_of_values_is_refused_before_it_is_parsed(server, body):
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(post_raw, server, body)
        with httpx.Client(base_url=server.url, timeout=30) as other:
            slowest = 0.0
            while not job.done():
                started = time.monotonic()
                assert other.get("/health").status_code == 200
                slowest = max(slowest, time.monotonic() - started)
    assert job.result().status_code == 413
    assert "strings, commas and brackets" in job.result().json()["message"]
    assert slowest < 5  # 46 s before, on a machine of its own
    assert process.memory_info().rss - before < 200e6


def test_one_fault_of_a_list_is_enough(server):
    reply = server.post({"query": "q", "documents": [{}] * 900})
    assert reply.status_code == 422
    assert reply.json()["message"].startswith("documents.0")
    reply = server.post({"query": "q", "documents": [1] * 900})
    assert reply.json()["message"] == "documents.0.str: input should be a valid string (and 1 more)"


def test_large_bodies_have_a_limit_together_and_small_ones_pass(start):
    large = json.dumps({"query": "q", "documents": ["x" * 80_000]})
    with start("--max-memory", "150000") as server, ExitStack() as stack:
        first = stack.enter_context(connect(server, head(len(large)) + large[:-1]))
        time.sleep(0.5)
        reply = server.client.post("/v1/rerank", content=large, headers={"content-type": "application/json"})
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
        assert server.post(SMALL).status_code == 200
        first.sendall(large[-1:].encode())
        assert first.recv(99).startswith(b"HTTP/1.1 200")
        assert server.client.post("/v1/rerank", content=large, headers=reply.request.headers).status_code == 200


def test_first_stage_scores_beyond_float32_are_refused(server):
    for score in (1e39, -1e39, 1e300):
        candidates = [{"docid": "1", "score": score, "doc": "x"}]
        reply = server.post({"query": {"text": "q"}, "candidates": candidates})
        assert reply.status_code == 422
        assert reply.json()["message"].startswith("candidates.0.score: input should be ")


def test_a_request_of_too_many_tokens_is_refused(start):
    with start("--max-tokens", "50") as server:
        assert server.post({"query": "q", "documents": ["a " * 25, "b " * 25]}).status_code == 200
        reply = server.post({"query": "q", "documents": ["a " * 26, "b " * 25]})
        assert reply.status_code == 413
        assert reply.json()["message"].startswith("51 tokens or more, expected at most 50; send fewer or shorter")


# -- connections ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", ["", "POST /v1/rerank HTTP/1.1\r\nhost: loc", head(999) + '{"query"'])
def test_connections_that_wait_for_their_client_give_way_to_new_ones(start, sent):
    with start("--connections", "50") as server, ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(connect(server, sent))
        started = time.monotonic()
        assert server.post(SMALL).status_code == 200
        assert time.monotonic() - started < 2
        assert psutil.Process(server.process.pid).num_fds() < 50 + 60
        assert server.log.stat().st_size < 50_000


def test_more_silent_connections_than_the_process_may_open_files_do_no_harm(tmp_path):
    limited = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400)); sys.argv.pop(0); "
    limited += f"sys.path.insert(0, {str(SLEEPER.parent)!r}); runpy.run_path(sys.argv[0], run_name='__main__')"
    with (
        serving(tmp_path, "--reranker", "sleepy-pairs", command=["-c", limited, SLEEPER]) as server,
        ExitStack() as stack,
    ):
        for _ in range(600):
            stack.enter_context(connect(server))
        assert server.post(SMALL).status_code == 200
        assert "out of system resource" not in server.log.read_text()


@pytest.mark.parametrize("sent", ["", "GET /health HT", head(9, path="/nowhere") + "x"])
def test_a_head_has_a_deadline(start, sent):
    with start("--timeout", "0.5") as server, connect(server, sent) as client:
        answer = b"".join(iter(lambda: client.recv(4096), b""))
        assert answer.startswith((b"HTTP/1.1 408", b"HTTP/1.1 404"))


def test_a_client_that_trickles_its_head_is_closed_too(start):
    with start("--timeout", "0.5") as server, connect(server, "GET /health HTTP/1.1\r\n") as client:
        with pytest.raises(OSError):
            for number in range(40):
                client.sendall(f"x-{number}: y\r\n".encode())
                time.sleep(0.1)
        assert server.get("/health").status_code == 200


def test_a_flood_of_refused_requests_does_not_fill_the_log(server):
    before = server.log.stat().st_size
    for _ in range(6):
        with connect(server, "GET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\n" * 200) as client:
            time.sleep(0.1)
            client.recv(10)
    time.sleep(0.5)
    assert server.log.stat().st_size - before < 100_000


def test_log_lines_that_were_left_out_are_counted():
    lines: list[str] = []
    now = [7.0]
    throttle = Throttle(lines.append, clock=lambda: now[0])
    for _ in range(OTHERS_PER_SECOND + 7):
        throttle("refused", keep=False)
    throttle("answered", keep=True)
    assert lines == ["refused"] * OTHERS_PER_SECOND + ["answered"]
    now[0] = 8.1
    throttle("later", keep=False)
    assert lines[-2:] == ['{"refusals not logged": 7}', "later"]


# -- the queue --------------------------------------------------------------------------------------------------------


def test_a_request_whose_client_has_left_is_not_scored_to_its_end(server):
    body = json.dumps({"query": "q", "documents": [f"text {number}" for number in range(1_000)]})  # 20 s of scoring
    before = server.metric("rrarank_pairs_total")
    with connect(server, head(len(body)) + body):
        time.sleep(1)
    started = time.monotonic()
    assert server.post(SMALL).status_code == 200
    assert time.monotonic() - started < 3
    time.sleep(1)
    scored = server.metric("rrarank_pairs_total")
    assert 0 < scored - before < 500
    time.sleep(1)
    assert server.metric("rrarank_pairs_total") == scored


def test_a_small_request_does_not_wait_for_a_large_one(server):
    with ThreadPoolExecutor(1) as pool:
        large = pool.submit(server.post, {"query": "q", "documents": [f"text {number}" for number in range(400)]})
        time.sleep(0.5)
        times = []
        while not large.done():
            started = time.monotonic()
            assert server.post(SMALL).status_code == 200
            times.append(time.monotonic() - started)
    assert large.result().status_code == 200
    assert len(large.result().json()["results"]) == 400
    assert max(times) < 3


class Held(SleepyPairs):  # type: ignore[misc]
    """Waits in each round until it is released."""

    def __init__(self, gate):
        super().__init__(RerankerConfig())
        self.gate = gate

    def score(self, batch):
        self.gate.acquire()
        return super().score(batch)


def test_a_full_queue_gives_the_place_of_a_much_larger_request_to_a_small_one():
    gate = threading.Semaphore(0)
    worker = Worker({"": Held(gate)}, limit=2)
    first = worker.submit(Asked("q", ["first"]))
    while worker.waiting:
        time.sleep(0.01)
    large, middle = (worker.submit(Asked("q", ["x" * size])) for size in (1_000, 20))
    small = worker.submit(Asked("q", ["small"]))
    with pytest.raises(Full):
        large.result(0)
    with pytest.raises(Full):
        worker.submit(Asked("q", ["other"]))
    for _ in range(3):
        gate.release()
    assert [job.result(5).order for job in (first, middle, small)] == [[(0, 1.0)]] * 3
    worker.close()


def test_a_reranker_that_fails_in_a_round_fails_the_request_at_fault_only():
    class Fails(SleepyPairs):  # type: ignore[misc]
        def score(self, batch):
            if any("bad" in pair["input_ids"] for pair in batch):
                raise ValueError("a bug")
            if any("nan" in pair["input_ids"] for pair in batch):
                return super().score(batch) * float("nan")
            return super().score(batch)

    worker = Worker({"": Fails(RerankerConfig())}, limit=9)
    jobs = [worker.submit(Asked("q", [text, "fine"])) for text in ("one", "a bad one", "a nan one", "two")]
    assert [job.exception(5) is None for job in jobs] == [True, False, False, True]
    worker.close()


def test_equal_texts_are_scored_once_and_keep_the_order_of_the_request():
    scored = []

    class Counts(SleepyPairs):  # type: ignore[misc]
        def score(self, batch):
            scored.extend(batch)
            return super().score(batch)

    worker = Worker({"": Counts(RerankerConfig())}, limit=9)
    ranked = worker.submit(Asked("q", ["a b", "c", "a b", "d", "a b"])).result(5)
    assert [place for place, _ in ranked.order] == [0, 2, 4, 1, 3]
    assert ranked.tokens == 8
    assert len(scored) == 3
    assert worker.submit(Asked("q", [])).result(5).order == []
    worker.close()
