"""The process around the application: its socket, uvicorn, and a graceful stop."""

from __future__ import annotations

import signal
import socket
import threading

import uvicorn
from fastapi import FastAPI

from rrarank.errors import RrarankError


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
        sock.listen(2048)
    except OSError as error:  # another server has taken it meanwhile
        host, port = sock.getsockname()[:2]
        raise _unusable(host, port, error) from None


def _unusable(host: str, port: int, error: OSError) -> RrarankError:
    return RrarankError(f"--host {host} --port {port}: {error.strerror}; give another")


def url_of(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(app: FastAPI, sock: socket.socket, drain_s: float) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish the accepted requests within `drain_s` seconds."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(
            signal.SIGTERM, lambda *_: None
        )  # uvicorn stops on it, then raises it again for the handler before
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=drain_s,  # type: ignore[arg-type]  # asyncio.wait_for takes it
    )
    uvicorn.Server(config).run(sockets=[sock])
