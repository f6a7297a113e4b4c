"""The process around the application: its socket, its connections with their deadlines, and a graceful stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from rrarank.errors import RrarankError

HEAD_S = 10.0  # seconds for the head of a request, from the connection or the answer before it
BACKLOG = 2_048
SPARE_FILES = 100  # open files that are not connections
SWITCH_S = 0.0005  # the longest that a thread holds the interpreter while another waits; scoring asks for it often
TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


def bind(host: str, port: int) -> socket.socket:
    """A socket that does not listen yet, so that a wrong address is reported before the model is loaded.

    Args:
        port: 0 for any free one.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError as error:
        raise _unusable(host, port, error) from None
    return sock


def listen(sock: socket.socket) -> None:
    """Let clients connect."""
    try:
        sock.listen(BACKLOG)
    except OSError as error:  # another server has taken it meanwhile
        host, port = sock.getsockname()[:2]
        raise _unusable(host, port, error) from None


def _unusable(host: str, port: int, error: OSError) -> RrarankError:
    return RrarankError(f"--host {host} --port {port}: {error.strerror}; give another")


def url_of(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(app: FastAPI, sock: socket.socket, connections: int, timeout_s: float, announce: Callable[[], None]) -> None:
    """Serve until SIGTERM, SIGHUP or Ctrl-C, then finish the accepted requests.

    Args:
        connections: most at once; fewer if the process may not open so many files.
        timeout_s: most seconds of a request.
        announce: called when clients can connect.
    """
    server = uvicorn.Server(uvicorn_config(app, timeout_s))
    if threading.current_thread() is threading.main_thread():
        _stop_on_signals(server)
    prepare_process(connections, timeout_s)
    listen(sock)
    announce()
    server.run(sockets=[sock])


def _stop_on_signals(server: uvicorn.Server) -> None:
    """Those that come before uvicorn looks for them count too; it raises SIGTERM again when it has stopped."""

    def stop(*_: object) -> None:
        server.should_exit = True

    signal.signal(signal.SIGTERM, stop)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # nohup has it ignored
        signal.signal(signal.SIGHUP, stop)


def uvicorn_config(app: FastAPI | Callable[[], FastAPI], timeout_s: float, **more: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="asyncio",
        http=Connection,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=_backlog(),
        timeout_graceful_shutdown=timeout_s + 5,  # type: ignore[arg-type]  # asyncio.wait_for takes it
        **more,
    )


def prepare_process(connections: int, timeout_s: float) -> None:
    """What a process of its own needs once the models are loaded."""
    quieten()
    # asyncio may accept the backlog in each of the three turns of its loop before the first of it is closed.
    Connection.most = max(1, min(connections, _open_files() - 3 * _backlog() - SPARE_FILES))
    Connection.head_s = min(HEAD_S, timeout_s)
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()  # else Python seldom looks for the cycles that hold old requests, since the libraries' objects are many


def _backlog() -> int:
    return min(BACKLOG, _open_files() // 8)


def _open_files() -> int:
    """How many files may be open, the limit raised as far as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return 65_536 if soft == resource.RLIM_INFINITY else soft


def quieten(level: int = logging.ERROR) -> None:
    """What a client can cause, such as a head that is not HTTP, is no line of the log each time."""
    logging.getLogger("asgi_correlation_id").setLevel(logging.ERROR)
    logging.getLogger("uvicorn.error").setLevel(level)
    logging.getLogger("asyncio").addFilter(OncePerSecond())


class OncePerSecond(logging.Filter):
    """Lets one record a second pass."""

    last = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        if (now := time.monotonic()) < self.last + 1:
            return False
        self.last = now
        return True


class Connection(H11Protocol):
    """HTTP/1.1 with a deadline for heads; beyond the limit, the connection that waits longest for its client is closed.

    A phase is `head` (no request yet, or an answer that the client does not read), `body` or `answer`.
    """

    most = 1_000
    head_s = HEAD_S
    waiting: ClassVar[dict[Connection, None]] = {}  # for their clients, the longest first
    phase = ""
    deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()
        if len(self.connections) > self.most:
            next(iter(self.waiting), self)._drop()  # this one if all others are being answered

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._enter("")
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self._enter("head")
        else:
            self._enter("body" if self.cycle.more_body else "answer")

    def _enter(self, phase: str) -> None:
        if phase == self.phase:
            return
        self.phase = phase
        self.waiting.pop(self, None)
        if phase in ("head", "body"):
            self.waiting[self] = None
        if self.deadline is not None:
            self.deadline.cancel()
        self.deadline = self.loop.call_later(self.head_s, self._give_up) if phase == "head" else None

    def _give_up(self) -> None:
        if self.transport.is_closing() or self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.write(TIMED_OUT)
            self.transport.close()

    def _drop(self) -> None:
        self._enter("")
        self.transport.abort()
