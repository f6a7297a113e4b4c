"""A real OpenAI-compatible server on the loopback: answers that depend on the question alone, faults on demand.

In a test: `with serving(behave) as server: … server.url`. As a program, `python tests/openai_server.py --delay 0.2`
prints its base URL, then serves until it is ended.
"""

import argparse
import hashlib
import json
import math
import os
import random
import re
import socket
import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    """What goes back, after `delay` seconds (infinite: never). `reset`: the connection is torn half-way."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    reset: bool = False


Behaviour = Callable[[dict[str, Any], int], Reply]
"""The reply to a request's JSON, asked for the n-th time (from 1)."""


@contextmanager
def serving(behave: Behaviour | None = None) -> Iterator["OpenAIServer"]:
    with OpenAIServer(behave or answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()


# -- behaviours -------------------------------------------------------------------------------------------------------


def answer(request: dict[str, Any], nth: int) -> Reply:
    return Reply(completion(request))


def completion(request: dict[str, Any], *, model: str = "", finish_reason: str = "stop", **message: Any) -> bytes:
    """A chat completion; by default its text is `ranking_of` the request, and its id a hash of all of the request."""
    message = {"role": "assistant", "content": ranking_of(request), **message}
    reply = {
        "id": f"chatcmpl-{digest(request)[:16]}",
        "object": "chat.completion",
        "created": 0,
        "model": model or request["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
    }
    return json.dumps(reply).encode()


def ranking_of(request: dict[str, Any]) -> str:
    """The ids that open a line of the messages, `[n]`, in an order of the request's own; without any, a hash."""
    text = "\n".join(message["content"] for message in request["messages"])
    ids = sorted({int(number) for number in re.findall(r"^\s*\[(\d+)\]", text, re.MULTILINE)})
    random.Random(digest(request)).shuffle(ids)
    return " > ".join(f"[{number}]" for number in ids) or digest(request)


def digest(request: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


def always(reply: Reply) -> Behaviour:
    return lambda request, nth: reply


def after(seconds: float, then: Behaviour = answer) -> Behaviour:
    return lambda request, nth: replace(then(request, nth), delay=seconds)


def first(times: int, fault: Behaviour, then: Behaviour = answer) -> Behaviour:
    """A fault at a question's first tries, then something else."""
    return lambda request, nth: (fault if nth <= times else then)(request, nth)


def error(
    status: int, message: str = "as you wished", headers: Mapping[str, str] | None = None, **more: Any
) -> Behaviour:
    body = json.dumps({"error": {"message": message, "type": "test", "param": None, "code": None, **more}})
    return always(Reply(body.encode(), status, headers or {}))


def truncated(request: dict[str, Any], nth: int) -> Reply:
    return Reply(completion(request)[:-20])


HTML = Reply(b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", headers={"Content-Type": "text/html"})
BEHAVIOURS: dict[str, Behaviour] = {
    "answer": answer,
    "rate-limited": error(429, "slow down", {"Retry-After": "1"}),
    "server-error": error(500),
    "reset": always(Reply(reset=True)),
    "hang": always(Reply(delay=math.inf)),
    "empty-body": always(Reply(b"")),
    "empty-choices": always(Reply(b'{"id": "x", "choices": []}')),
    "truncated-json": truncated,
    "html": always(HTML),
    "error-with-200": always(Reply(b'{"error": {"message": "overloaded"}}')),
    "refusal": lambda request, nth: Reply(completion(request, content=None, refusal="I cannot rank these.")),
    "wrong-model": error(404, "The model does not exist.", code="model_not_found"),
    "wrong-key": error(401, "Incorrect API key provided.", code="invalid_api_key"),
    "forbidden": error(403, "Not in your country."),
    "bad-request": error(400, "This model's context length is 4096 tokens."),
    "no-quota": error(429, "You exceeded your current quota.", code="insufficient_quota"),
}


# -- the server -------------------------------------------------------------------------------------------------------


class OpenAIServer(ThreadingHTTPServer):
    """Remembers its requests, their headers (by lower-case names), and the most it had at once."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, behave: Behaviour, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.behave = behave
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.most_at_once = 0
        self.closing = threading.Event()
        self._at_once = 0
        self._tries: Counter[str] = Counter()
        self._lock = threading.Lock()

    def reply_to(self, request: dict[str, Any], headers: dict[str, str]) -> Reply:
        with self._lock:
            self.requests.append(request)
            self.headers.append(headers)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            self._tries[digest(request)] += 1
            nth = self._tries[digest(request)]
        reply = self.behave(request, nth)
        self.closing.wait(min(reply.delay, threading.TIMEOUT_MAX))
        with self._lock:
            self._at_once -= 1  # before it is sent, else the client's next request might come first
        return reply

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(
            sys.exception(), ConnectionError | json.JSONDecodeError
        ):  # a client may hang up, or be killed
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: OpenAIServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.path.partition("?")[0].endswith("/v1/chat/completions"):  # a proxy gets the whole URL
            return self._send(error(404, f"no such path: {self.path}")({}, 1))
        reply = self.server.reply_to(json.loads(body), {name.lower(): value for name, value in self.headers.items()})
        if reply.delay < math.inf:
            self._send(reply)
        else:
            self.close_connection = True

    def _send(self, reply: Reply) -> None:
        headers = {"Content-Type": "application/json", "Content-Length": str(len(reply.body)), **reply.headers}
        if reply.reset:
            headers["Content-Length"] = "1000"
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.wfile.write(f"HTTP/1.1 {reply.status} -\r\n{lines}\r\n".encode() + reply.body)  # one packet
        if reply.reset:
            self._reset()

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())  # at once, and so with RST instead of FIN

    def log_message(self, format: str, *args: Any) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(
        description="An OpenAI-compatible server that answers at random, but always alike."
    )
    parser.add_argument("--port", type=int, default=0, help="0 for any free one")
    parser.add_argument("--delay", type=float, default=0.0, metavar="S", help="seconds before each reply")
    parser.add_argument("--behave", choices=BEHAVIOURS, default="answer")
    flags = parser.parse_args()
    behave = BEHAVIOURS[flags.behave]
    with OpenAIServer(after(flags.delay, behave) if flags.delay else behave, flags.port) as server:
        print(server.url, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
