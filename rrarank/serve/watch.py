"""Around every request: an id, a line in the access log, its place in the metrics; never a text."""

from __future__ import annotations

import json
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rrarank.serve.metrics import Metrics

HEADERS = {"x-content-type-options": "nosniff", "cache-control": "no-store", "referrer-policy": "no-referrer"}


class Watch:
    """ASGI middleware. A handler adds to its line by `note`; a bug in it becomes a 500 and a line that says where."""

    def __init__(self, app: ASGIApp, metrics: Metrics, log: Callable[[str], None]) -> None:
        self.app, self.metrics, self.log = app, metrics, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started, status = time.perf_counter(), 0
        ident = uuid.uuid4().hex
        scope.setdefault("state", {}).update(id=ident, notes={})

        async def send_and_see(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update({"x-request-id": ident, **HEADERS})
            await send(message)

        try:
            await self.app(scope, receive, send_and_see)
        except Exception as error:
            scope["state"]["notes"]["fault"] = _where(error)
            if not status:
                body = {"message": "a fault of the server's; its log says where, by this id", "id": ident}
                await JSONResponse(body, 500)(scope, receive, send_and_see)
        finally:
            seconds = time.perf_counter() - started
            self.metrics.answered(_route(scope), status, seconds)
            self.log(_line(scope, status, seconds))


def note(request: Request, **numbers: float) -> None:
    """Add to the request's line in the log."""
    request.state.notes.update(numbers)


def _line(scope: Scope, status: int, seconds: float) -> str:
    client: tuple[str, int] | None = scope.get("client")
    line: Mapping[str, Any] = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "id": scope["state"]["id"],
        "client": client[0] if client else "",
        "method": scope["method"][:10],
        "route": _route(scope),
        "status": status,
        "ms": round(seconds * 1000, 1),
        **scope["state"]["notes"],
    }
    return json.dumps(line)


def _route(scope: Scope) -> str:
    """As declared: what a client makes up could be anything."""
    return str(getattr(scope.get("route"), "path", "none"))


def _where(error: Exception) -> str:
    """Kind and place; the message could hold a text."""
    frames = traceback.extract_tb(error.__traceback__)
    return " < ".join([type(error).__name__, *(f"{f.name}:{f.lineno}" for f in reversed(frames[-8:]))])
