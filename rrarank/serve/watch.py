"""Around every request: a line in the log, security headers, an answer to bugs, and the metrics. Never a text."""

from __future__ import annotations

import json
import os
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from asgi_correlation_id import correlation_id
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_fastapi_instrumentator import Instrumentator, metrics
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's variable: the folder that workers share
HEADERS = {"x-content-type-options": "nosniff", "cache-control": "no-store", "referrer-policy": "no-referrer"}
OTHERS_PER_SECOND = 50  # lines of refused requests: a flood of them must not fill the disk
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_MODEL = ("model",)
_COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Watch:
    """ASGI middleware that logs requests; a bug in a handler becomes a 500 and a log line that says where."""

    def __init__(
        self, app: ASGIApp, log: Callable[[str], None], trace_of: Callable[[Scope], Mapping[str, str]]
    ) -> None:
        self.app, self.log, self.trace_of = app, Throttle(log), trace_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started, status = time.perf_counter(), 0
        scope.setdefault("state", {})["notes"] = {**self.trace_of(scope)}

        async def send_and_see(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        try:
            await self.app(scope, receive, send_and_see)
        except Exception as error:
            scope["state"]["notes"]["fault"] = _where(error)
            if not status:
                body = {"message": "a bug in the server; its log says where, under this id", "id": correlation_id.get()}
                await JSONResponse(body, 500)(scope, receive, send_and_see)
        finally:
            self.log(_line(scope, status, time.perf_counter() - started), keep=200 <= status < 400)


class Throttle:
    """Passes all lines to be kept and some of the others, and says how many it left out."""

    def __init__(self, log: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._log, self._clock = log, clock
        self._second = self._passed = 0

    def __call__(self, line: str, keep: bool) -> None:
        second = int(self._clock())
        if second != self._second:
            if self._passed > OTHERS_PER_SECOND:
                self._log(json.dumps({"refusals not logged": self._passed - OTHERS_PER_SECOND}))
            self._second, self._passed = second, 0
        self._passed += not keep
        if keep or self._passed <= OTHERS_PER_SECOND:
            self._log(line)


def note(request: Request, **more: float | str) -> None:
    """Add to the request's line in the log."""
    request.state.notes.update(more)


def _line(scope: Scope, status: int, seconds: float) -> str:
    client: tuple[str, int] | None = scope.get("client")
    line = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "id": correlation_id.get(),
        "client": client[0] if client else "",
        "method": scope["method"][:10],
        "route": getattr(scope.get("route"), "path", "none"),  # as declared: a client may send any path
        "status": status,
        "ms": round(seconds * 1000, 1),
        **scope["state"]["notes"],
    }
    return json.dumps(line)


def _where(error: Exception) -> str:
    """Kind and place of an error; its message could hold a text."""
    frames = traceback.extract_tb(error.__traceback__)
    return " < ".join([type(error).__name__, *(f"{f.name}:{f.lineno}" for f in reversed(frames[-8:]))])


class Metrics:
    """For Prometheus, in a registry of its own: two servers in one process do not count for each other."""

    def __init__(self) -> None:
        own = self.registry = CollectorRegistry()
        self._pairs = Counter("rrarank_pairs", "Pairs of query and document scored", _MODEL, registry=own)
        self._together = Histogram(
            "rrarank_batch_requests", "Requests scored together", _MODEL, buckets=_COUNTS, registry=own
        )
        self._scoring = Histogram(
            "rrarank_batch_seconds", "Time to score a batch", _MODEL, buckets=_SECONDS, registry=own
        )
        waiting = "Requests that wait for a round"
        self.waiting = Gauge("rrarank_waiting", waiting, registry=own, multiprocess_mode="livesum")
        route = ("handler", *_MODEL)
        self._requests = Counter("rrarank_requests", "Requests by route", [*route, "status"], registry=own)
        self._seconds = Histogram(
            "rrarank_request_seconds", "Time of requests by route", route, buckets=_SECONDS, registry=own
        )

    def page(self) -> bytes:
        """Of this process or, where it is one of several workers, of all of them."""
        if MULTIPROCESS not in os.environ:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)

    def scored(self, model: str, requests: int, pairs: int, seconds: float) -> None:
        self._together.labels(model).observe(requests)
        self._pairs.labels(model).inc(pairs)
        self._scoring.labels(model).observe(seconds)

    def instrument(self, app: FastAPI) -> None:
        """Count and time the requests by route and model; not by method, which a client may make up."""
        Instrumentator(should_group_status_codes=False, registry=self.registry).add(self._answered).instrument(app)

    def _answered(self, info: metrics.Info) -> None:
        model = info.request.scope.get("state", {}).get("notes", {}).get("model", "")
        self._requests.labels(info.modified_handler, model, info.modified_status).inc()
        self._seconds.labels(info.modified_handler, model).observe(info.modified_duration)
