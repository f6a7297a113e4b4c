"""A request before its handler: the Host header, the API key, the body within its size and time."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from rrarank.errors import RrarankError
from rrarank.serve.bodies import parse_json
from rrarank.serve.config import ServeConfig
from rrarank.serve.keys import NOBODY, Key, Keys, names_this_machine, offered_key
from rrarank.serve.models import Models
from rrarank.serve.queue import Worker
from rrarank.serve.scoring import TooLarge
from rrarank.serve.search import Search
from rrarank.serve.tracing import Tracing
from rrarank.serve.trial import Trial
from rrarank.serve.watch import Metrics, note

CLIENT_GONE = 499  # nginx's code for it; only the log shows it
SMALL = 65_536  # bytes of a body that is parsed at once, in less than a millisecond
PARTS = 200  # JSON strings, commas and brackets of a document: some 60 fields


@dataclass(frozen=True)
class Service:
    """What the handlers use.

    Args:
        local_only: refuse requests whose Host header is not a name of this machine.
        log: takes one line of JSON a request.
        trial: the experiment, and the log of what users do.
        started: seconds since 1970.
    """

    models: Models
    worker: Worker
    metrics: Metrics
    config: ServeConfig
    bodies: LargeBodies
    keys: Keys
    local_only: bool
    search: Search | None
    log: Callable[[str], None]
    trial: Trial = field(default_factory=Trial)
    started: int = field(default_factory=lambda: int(time.time()))
    tracing: Tracing = field(default_factory=Tracing)


def service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def key_of(request: Request) -> Key:
    """Whose key the request came with."""
    key: Key = request.state.key
    return key


class OpenRoute(APIRoute):
    """Checks the Host header; a handler's body is read as `JsonRequest` does."""

    def check(self, request: Request) -> None:
        if service_of(request).local_only and not names_this_machine(request.headers.get("host", "")):
            raise HTTPException(
                421, "this server answers to this machine's names only; use localhost, or start it with keys"
            )

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def checked(request: Request) -> Response:
            self.check(request)
            reader = JsonRequest(request.scope, request.receive)
            try:
                return await handle(reader)
            finally:
                reader.release()

        return checked


class KeyedRoute(OpenRoute):
    """Checks the API key before the body is read; FastAPI's own dependencies run after."""

    def check(self, request: Request) -> None:
        super().check(request)
        keys = service_of(request).keys
        key = keys.find(offered_key(request.headers)) if keys else NOBODY
        if key is None:
            message = "no API key, or a wrong one; send Authorization: Bearer KEY, or x-api-key: KEY"
            raise HTTPException(401, message, {"www-authenticate": "Bearer"})
        request.state.key = key
        if key.number:
            note(request, key=key.number)


class LargeBodies:
    """The bodies above `SMALL` bytes: how many bytes are held, at most; they are parsed one at a time.

    Args:
        shared: by several keys, none of which may hold more than half.
    """

    def __init__(self, most: int, shared: bool = False) -> None:
        self.most, self.most_of_key = most, most // 2 if shared else most
        self.held: Counter[Key] = Counter()
        self.parsing = asyncio.Semaphore(1)

    def has_room(self, key: Key, count: int) -> bool:
        return self.held.total() + count <= self.most and self.held[key] + count <= self.most_of_key


class JsonRequest(Request):
    """A request whose body is limited in bytes and time; a large one is parsed outside the event loop."""

    _held = 0

    async def body(self) -> bytes:
        """
        Raises:
            HTTPException: 415 not JSON, 413 too long, 408 too slow, 499 broken off.
        """
        if not hasattr(self, "_body"):  # Starlette's place for it
            self._body = await self._received(service_of(self).config)
        return self._body

    async def _received(self, config: ServeConfig) -> bytes:
        seconds = config.timeout
        self.state.deadline = time.monotonic() + seconds
        kind = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":  # a page of another site cannot send this type without asking first
            raise HTTPException(415, f"content-type {kind[:100]!r}, expected application/json")
        try:
            async with asyncio.timeout(seconds):
                return await self._read(min(config.max_bytes, key_of(self).max_bytes or config.max_bytes))
        except TimeoutError:
            raise HTTPException(408, f"the body did not arrive within {seconds:g} s") from None
        except ClientDisconnect:
            raise HTTPException(CLIENT_GONE, "the client hung up") from None

    async def _read(self, most: int) -> bytes:
        declared = int(self.headers.get("content-length", 0))
        body = bytearray()
        if declared <= most:
            async for chunk in self.stream():
                body += chunk
                if len(body) > most:
                    break
                if len(body) > SMALL:
                    self._hold(len(body) - self._held)
        if max(declared, len(body)) > most:
            is_of_key = most < service_of(self).config.max_bytes
            advice = "send less" + ("" if is_of_key else ", or start the server with --max-bytes")
            # uvicorn reads the rest and drops it, so that the client comes to read this.
            raise HTTPException(413, f"the body has more than {most:,} bytes; {advice}")
        return bytes(body) or b" "  # FastAPI does not parse an empty body

    def _hold(self, count: int) -> None:
        bodies = service_of(self).bodies
        if not bodies.has_room(key_of(self), count):
            raise HTTPException(503, "the server holds too many large bodies now; try again", {"retry-after": "1"})
        self._held += count
        bodies.held[key_of(self)] += count

    def release(self) -> None:
        """Give back the place of the body; call it when the request is answered."""
        if self._held:
            service_of(self).bodies.held[key_of(self)] -= self._held
            self._held = 0

    async def json(self) -> object:
        body, most = await self.body(), PARTS * max(1_000, service_of(self).config.max_documents)
        with refused_as(422):
            if len(body) <= SMALL:
                return parse_json(body, most)
            async with service_of(self).bodies.parsing:
                return await run_in_threadpool(parse_json, body, most)


@contextmanager
def refused_as(status: int) -> Iterator[None]:
    """Answer with that status and the message of a `RrarankError`; 413 if the request is too large."""
    try:
        yield
    except RrarankError as error:
        raise HTTPException(413 if isinstance(error, TooLarge) else status, str(error)) from None
