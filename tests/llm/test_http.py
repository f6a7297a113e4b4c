"""Where requests go and how much of a reply is read: proxies, certificates, redirects, and replies without an end."""

import gzip
import json
import os
import socket
import threading
import tracemalloc
import zlib

import pytest
from openai_server import (  # type: ignore[import-not-found]  # pytest finds it beside this file's folder
    Reply,
    always,
    answer,
    completion,
    error,
    serving,
)

from rrarank.errors import MissingPrerequisite, MissingResource, RrarankError
from rrarank.llm.base import Answer, Failure, LLMConfig
from rrarank.llm.http import MOST_BYTES, address_of
from rrarank.llm.load import load_llm

QUESTION = [("q", [{"role": "user", "content": "[1] a\n[2] b"}])]
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in (*VARIABLES, "OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def ask(url, **settings):
    config = LLMConfig("any", **{"base_url": url, "retries": 0, "timeout_s": 10.0, "total_s": 20.0, **settings})
    [(_, outcome)] = load_llm(config).answers(QUESTION)
    return outcome


# -- where requests go -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("http://localhost:8000/v1", "http://localhost:8000/v1/chat/completions"),
        ("http://localhost:8000/v1/", "http://localhost:8000/v1/chat/completions"),
        (
            "https://x.azure.com/d/gpt?api-version=2024-10-21",
            "https://x.azure.com/d/gpt/chat/completions?api-version=2024-10-21",
        ),
        ("https://h/v1/?a=1&b=2#c", "https://h/v1/chat/completions?a=1&b=2"),
        ("", "https://api.openai.com/v1/chat/completions"),
    ],
)
def test_the_path_goes_before_the_query(base_url, url):
    assert address_of(base_url).url == url


def test_azures_key_has_a_header_of_its_own(monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "secret")
    with serving() as server:
        outcome = ask(f"{server.url}?api-version=1", api_key_env="AZURE_OPENAI_API_KEY", key_header="api-key")
        assert isinstance(outcome, Answer)
    assert server.headers[0]["api-key"] == "secret"
    assert "authorization" not in server.headers[0]


def test_a_key_header_that_cannot_be_is_refused():
    with pytest.raises(RrarankError, match="key_header 'a b', expected a header name such as api-key"):
        LLMConfig("any", key_header="a b")


@pytest.mark.parametrize("variable", ["ALL_PROXY", "HTTP_PROXY", "http_proxy"])
@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "socks://127.0.0.1:9", "http://127.0.0.1:9", "nonsense"])
def test_no_proxy_stands_before_this_machine(variable, proxy, monkeypatch):
    monkeypatch.setenv(variable, proxy)
    with serving() as server:
        assert isinstance(ask(server.url), Answer)
        assert isinstance(ask(server.url.replace("127.0.0.1", "localhost")), Answer)


@pytest.mark.parametrize(
    ("variable", "proxy", "kind", "message"),
    [
        (
            "ALL_PROXY",
            "socks5://127.0.0.1:9",
            MissingPrerequisite,
            "ALL_PROXY names a SOCKS proxy, which needs: pip install",
        ),
        (
            "all_proxy",
            "socks://127.0.0.1:9",
            RrarankError,
            "all_proxy: a proxy of socks://, expected http://, https:// or",
        ),
        ("HTTP_PROXY", "ftp://127.0.0.1:9", RrarankError, "HTTP_PROXY: a proxy of ftp://, expected http://"),
        ("HTTP_PROXY", "http://127.0.0.1:x", RrarankError, "HTTP_PROXY: not a URL that can be used"),
        (
            "HTTP_PROXY",
            "http://127.0.0.1:9",
            MissingResource,
            r"http://llm.example/v1: cannot be reached .* proxy of HTTP_PROXY up\?",
        ),
        (
            "ALL_PROXY",
            "127.0.0.1:9",
            MissingResource,
            r"http://llm.example/v1: cannot be reached .* proxy of ALL_PROXY up\?",
        ),
    ],
)
def test_a_proxy_that_does_not_work_is_named_by_its_variable(variable, proxy, kind, message, monkeypatch):
    monkeypatch.setenv(variable, proxy)
    monkeypatch.setattr("rrarank.llm.http.find_spec", lambda name: None)
    with pytest.raises(kind, match=message) as raised:
        ask("http://llm.example/v1")
    assert "\n" not in str(raised.value)
    assert "NO_PROXY" in str(raised.value) or "not a URL" in str(raised.value)


def test_a_proxy_is_used_for_other_hosts_unless_no_proxy_names_them(monkeypatch):
    with serving() as server:
        monkeypatch.setenv("HTTP_PROXY", server.url.removesuffix("/v1"))
        assert isinstance(ask("http://llm.example/v1"), Failure | Answer)  # the server saw an absolute URL
        monkeypatch.setenv("NO_PROXY", "llm.example")
        assert address_of("http://llm.example/v1").proxy == ""


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("SSL_CERT_FILE", "/nowhere", "SSL_CERT_FILE=/nowhere: no such file; name a file of certificates"),
        ("SSL_CERT_DIR", "/nowhere", "SSL_CERT_DIR=/nowhere: no such folder"),
        ("SSL_CERT_FILE", os.devnull.replace("null", "zero"), "SSL_CERT_FILE=/dev/zero: no such file"),
        ("SSL_CERT_FILE", __file__, "cannot be read as certificates"),
    ],
)
def test_certificates_that_cannot_be_read_are_named_by_their_variable(variable, value, message, monkeypatch):
    monkeypatch.setenv(variable, value)
    with pytest.raises(RrarankError, match=message):
        ask("https://llm.example/v1")
    with serving() as server:
        assert isinstance(ask(server.url), Answer)  # plain HTTP needs none


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status):
    with (
        serving() as other,
        serving(always(Reply(b"", status, {"Location": f"{other.url}/chat/completions"}))) as server,
    ):
        with pytest.raises(
            MissingResource, match=f"HTTP {status}: redirects to {other.url}.*; redirects are not followed"
        ):
            ask(server.url)
        assert (len(server.requests), len(other.requests)) == (1, 0)


# -- how much is read --------------------------------------------------------------------------------------------------


@pytest.fixture
def endless():
    """A server whose replies never end; the URL for a status."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        status = ["200 OK"]

        def serve():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connection.recv(65536)
                try:
                    connection.sendall(f"HTTP/1.1 {status[0]}\r\nContent-Type: application/json\r\n\r\n".encode())
                    while True:
                        connection.sendall(b'{"choices": [{"message": {"content": "' + b"[1] > " * 10_000)
                except OSError:
                    connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1", status
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("code", ["200 OK", "500 Internal Server Error", "404 Not Found"])
def test_a_reply_without_an_end_is_given_up(endless, code):
    url, status = endless
    status[0] = code
    tracemalloc.start()
    outcome = ask(url)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(outcome, Failure)
    assert outcome.reason == f"the reply is larger than {MOST_BYTES:,} bytes"
    assert peak < 10 * MOST_BYTES


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_packed_bomb_is_given_up(encoding):
    bomb = (gzip.compress if encoding == "gzip" else zlib.compress)(b" " * 200_000_000)
    tracemalloc.start()
    with serving(always(Reply(bomb, headers={"Content-Encoding": encoding}))) as server:
        outcome = ask(server.url)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(outcome, Failure)
    assert outcome.reason == f"the reply is larger than {MOST_BYTES:,} bytes"
    assert peak < 10 * MOST_BYTES


def test_a_packed_reply_is_read():
    def packed(request, nth):
        return Reply(gzip.compress(completion(request)), headers={"Content-Encoding": "gzip"})

    with serving(packed) as server:
        assert isinstance(ask(server.url), Answer)
        assert server.headers[0]["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(b"\x1f\x8bnot gzip", headers={"Content-Encoding": "gzip"}), "the reply cannot be unpacked"),
        (Reply(b"x", headers={"Content-Encoding": "zstd"}), "the reply is packed .zstd., which was not asked for"),
    ],
)
def test_what_cannot_be_unpacked_is_a_failure(reply, message):
    with serving(always(reply)) as server:
        outcome = ask(server.url)
    assert isinstance(outcome, Failure)
    assert outcome.reason.startswith(message.replace(".zstd.", "(zstd)"))


def test_an_answer_beyond_its_tokens_is_cut():
    with serving(lambda request, nth: Reply(completion(request, content="[1] > " * 10_000))) as server:
        outcome = ask(server.url, max_tokens=10)
    assert isinstance(outcome, Answer)
    assert (len(outcome.text), outcome.finish_reason) == (160, "length")


@pytest.mark.parametrize("number", ["9" * 5000, "1e999", "-5", "true", '"7"', "NaN", "[1]", "1" + "0" * 30])
def test_a_usage_that_cannot_be_counts_as_nothing(number):
    body = f'{{"choices": [{{"message": {{"content": "[1]"}}}}], "usage": {{"prompt_tokens": {number}}}}}'
    with serving(always(Reply(body.encode()))) as server:
        outcome = ask(server.url)
    assert isinstance(outcome, Answer)
    assert outcome.prompt_tokens == 0


def test_a_model_that_wants_another_name_of_the_limit_gets_it():
    said = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."

    def newer(request, nth):
        return error(400, said)(request, nth) if "max_tokens" in request else answer(request, nth)

    with serving(newer) as server:
        assert isinstance(ask(server.url, max_tokens=77), Answer)
    assert [request.get("max_completion_tokens") for request in server.requests] == [None, 77]
    assert json.dumps(server.requests[1]).count("max_tokens") == 0
