"""One process: a socket, uvicorn on it, and its end."""

from __future__ import annotations

import signal
import socket

import uvicorn
from fastapi import FastAPI

from rrarank.errors import RrarankError


def bind(host: str, port: int) -> socket.socket:
    """A socket that does not listen yet, so that what is wrong with the address shows before a model is loaded.

    Args:
        port: 0 for any that is free.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError as error:
        raise _unfit(host, port, error) from None
    return sock


def listen(sock: socket.socket) -> None:
    """From here on clients wait instead of being refused."""
    try:
        sock.listen(2048)
    except OSError as error:  # another that was started meanwhile
        host, port = sock.getsockname()[:2]
        raise _unfit(host, port, error) from None


def _unfit(host: str, port: int, error: OSError) -> RrarankError:
    return RrarankError(f"--host {host} --port {port}: {error.strerror}; give another")


def url_of(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(app: FastAPI, sock: socket.socket, drain_s: float) -> None:
    """Until SIGTERM or Ctrl-C: then nothing new is taken, and what was accepted has `drain_s` seconds to finish."""
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn ends on it, then hands it on to who had it before
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=drain_s,  # type: ignore[arg-type]  # handed to asyncio.wait_for
    )
    uvicorn.Server(config).run(sockets=[sock])
