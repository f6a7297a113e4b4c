"""The ASGI application around a service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib import metadata
from typing import Any

from asgi_correlation_id import CorrelationIdMiddleware, correlation_id
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from rrarank.errors import did_you_mean
from rrarank.serve import event_routes  # noqa: F401  # adds its path to the router
from rrarank.serve.bodies import first_fault
from rrarank.serve.intake import Service
from rrarank.serve.routes import keyed, open_to_all
from rrarank.serve.watch import Watch

ASKED = (
    "authorization",
    "content-type",
    "x-api-key",
    "x-request-id",
    "traceparent",
    "tracestate",
)  # headers that another site's page may send


def create_app(service: Service) -> FastAPI:
    """It ends when every request that it accepted is answered."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.worker.close()
        service.trial.close()
        service.tracing.close()

    # Its /docs and /redoc load nothing from another host.
    about: dict[str, Any] = {"title": "rrarank", "version": metadata.version("rrarank")}
    app = FastAPIOffline(**about, lifespan=lifespan, telemetry=service.tracing.config)
    app.state.service = service
    app.include_router(keyed)
    app.include_router(open_to_all)
    app.add_exception_handler(HTTPException, _refusal)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_middleware(Watch, log=service.log, trace_of=service.tracing.trace_of)  # the last added is the outermost
    service.metrics.instrument(app)
    app.add_middleware(CorrelationIdMiddleware)
    if origins := service.config.cors.split():
        # No cookies are used, so none are allowed; a page sends its key in a header.
        app.add_middleware(CORSMiddleware, allow_origins=origins, allow_methods=["GET", "POST"], allow_headers=ASKED)
    return app


async def _refusal(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    is_ours = "route" in request.scope and error.status_code != 405
    return _message(error.detail if is_ours else _wrong_path(request), error.status_code, error.headers)


def _wrong_path(request: Request) -> str:
    """Names the paths there are, with their methods."""
    paths: dict[str, dict[str, object]] = request.app.openapi()["paths"]
    known = ", ".join(f"{'/'.join(method.upper() for method in methods)} {path}" for path, methods in paths.items())
    asked = f"{request.method[:10]} {request.url.path[:100]}"
    hint = "" if request.url.path in paths else did_you_mean(request.url.path[:100], paths)
    return f"no {asked}{hint} (known: {known})"


async def _malformed(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return _message(first_fault(error.errors()), 422)


def _message(text: str, status: int, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"message": text[:1_000], "id": correlation_id.get()}, status, headers)
