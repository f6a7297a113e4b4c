"""The ASGI application around a service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib import metadata

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from rrarank.serve.guards import name_guard
from rrarank.serve.openapi import describe
from rrarank.serve.routes import guarded, open_to_all
from rrarank.serve.service import Service
from rrarank.serve.watch import Watch


def create_app(service: Service) -> FastAPI:
    """It ends when all that it accepted is answered."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.worker.close()

    app = FastAPI(
        title="rrarank",
        version=metadata.version("rrarank"),
        lifespan=lifespan,
        dependencies=[Depends(name_guard)],
        docs_url=None,  # FastAPI's own pages load scripts from elsewhere
        redoc_url=None,
    )
    app.state.service = service
    service.metrics.watch_waiting(lambda: service.worker.waiting)
    app.include_router(guarded)
    app.include_router(open_to_all)
    app.add_exception_handler(HTTPException, _refusal)
    app.add_middleware(Watch, metrics=service.metrics, log=service.log)
    app.openapi = partial(describe, app.openapi)  # type: ignore[method-assign]
    return app


async def _refusal(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    body = {"message": str(error.detail)[:1_000], "id": request.state.id}
    return JSONResponse(body, error.status_code, error.headers)
